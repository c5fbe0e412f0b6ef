"""Synchronize: a scripted dispatcher against the whole run room."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import grpc
import pytest
import pytest_asyncio
from comfyfleet.run.v1 import run_pb2, run_queue_pb2, run_service_pb2, runner_pb2
from google.protobuf.duration_pb2 import Duration

from services.common.grant import decode_grant, public_keys
from services.common.sql import Database
from services.common.status import error_of
from tests.rpc.queue_rig import ALICE, BOB, DEADLINE, GRAPH, TEAM_A, QueueRig, open_queue_rig
from tests.rpc.scripted_dispatcher import ScriptedDispatcher, output

RUN, STAGE, CANCEL, RECALL = (
    run_queue_pb2.ACTION_RUN,
    run_queue_pb2.ACTION_STAGE,
    run_queue_pb2.ACTION_CANCEL,
    run_queue_pb2.ACTION_RECALL,
)
NODE_ERROR = run_pb2.RunError(code="NODE_ERROR", message="It broke.", node_id="2")
SHAKY = run_pb2.RunError(code="OUT_OF_MEMORY", message="It was too big.", retryable=True)


@pytest.fixture
def room() -> str:
    return "run"


@pytest_asyncio.fixture
async def rig(database: Database) -> AsyncIterator[QueueRig]:
    async with open_queue_rig(database) as opened:
        yield opened


async def test_a_run_is_given_to_a_runner_and_ends_with_its_outputs(rig: QueueRig) -> None:
    garage = await rig.attached()
    run = await rig.create(extra_data_json=b'{"extra_pnginfo":{"workflow":{}},"note":1}')
    held = await garage.assigned(run.id)
    assert (held.action, held.attempt, held.submitted) == (RUN, 1, False)
    spec = garage.specs[run.id]
    assert spec.graph_json == GRAPH
    assert spec.prompt_id
    assert spec.cache_salt  # teams meet on a runner of the fleet
    assert spec.extra_data_json == b'{"note":1}'
    grant = decode_grant(held.file_token, public_keys([rig.public_key]))
    assert (grant.team_id, grant.run_id, grant.attempt, grant.fleet_id) == (TEAM_A, run.id, 1, "tests")
    garage.finish(held, outputs=2)
    ended = await rig.ended(run.id)
    assert ended.state == run_pb2.RUN_STATE_SUCCEEDED
    assert [one.name for one in ended.outputs] == ["ComfyUI_00000_.png", "ComfyUI_00001_.png"]
    await garage.gone(run.id)
    kinds = [event.WhichOneof("event") for event in await rig.log(run.id)]
    assert kinds == [
        "state_changed",
        "attempt_started",
        "state_changed",
        "state_changed",
        "output_added",
        "output_added",
        "state_changed",
    ]


async def test_a_long_run_is_seen_running_with_outputs_and_progress(rig: QueueRig) -> None:
    garage = await rig.attached()
    run = await rig.create()
    held = await garage.assigned(run.id)
    garage.run(held, seconds=2)
    await rig.in_state(run.id, run_pb2.RUN_STATE_RUNNING)
    progress = run_pb2.RunProgress(fraction=0.5, node_id="1")
    first = run_queue_pb2.Output(
        ordinal=0, node_id="2", key="images", file_id="f", file_name="a.png", kind="output", media_type="image/png"
    )
    garage.report(held, running=run_queue_pb2.Running(progress=progress), outputs=[first], outputs_count=1)
    await garage.until(lambda desired: [one.outputs_acknowledged for one in desired.executions] == [1])
    seen = await rig.get(run.id)
    assert [one.file_id for one in seen.outputs] == ["f"]
    garage.send()
    held = await garage.assigned(run.id)
    assert held.submitted
    garage.finish(held, outputs=1, milliseconds=2000)
    ended = await rig.ended(run.id)
    assert ended.state == run_pb2.RUN_STATE_SUCCEEDED
    assert [one.file_id for one in ended.outputs] == ["f"]  # content is recorded once


async def test_outputs_that_came_early_and_late_stand_once_in_the_last_event(rig: QueueRig) -> None:
    garage = await rig.attached()
    run = await rig.create()
    held = await garage.assigned(run.id)
    early = run_queue_pb2.Output(
        ordinal=0, node_id="2", key="images", position=0, file_id="f0", file_name="a.png", kind="output"
    )
    garage.report(held, running=run_queue_pb2.Running(), outputs=[early], outputs_count=1)
    await garage.until(lambda desired: [one.outputs_acknowledged for one in desired.executions] == [1])
    last = None
    async for last in rig.events(run.id, after_sequence=0):
        if last.WhichOneof("event") == "output_added" and last.output_added.ordinal == 0:
            garage.finish(held, outputs=3, milliseconds=2000)  # only now, so that the end is seen as it happens
    assert last is not None
    assert [one.ordinal for one in last.state_changed.run.outputs] == [0, 1, 2]
    assert [one.ordinal for one in (await rig.get(run.id)).outputs] == [0, 1, 2]


async def test_an_adopting_session_may_find_outputs_in_another_order(rig: QueueRig) -> None:
    old = await rig.attached()
    run = await rig.create()
    held = await old.assigned(run.id)
    running = run_queue_pb2.Running(backend_started=True)
    old.report(held, running=running, outputs=[output(0), output(1)], outputs_count=2)
    await old.until(lambda desired: [one.outputs_acknowledged for one in desired.executions] == [2])
    new = await rig.attached()
    held = await new.assigned(run.id)
    assert held.outputs_acknowledged == 2
    # Its first word of an output is one that nobody has told, under an ordinal that stands for another.
    new.report(held, running=running, outputs=[output(0, position=2)], outputs_count=1)
    await new.until(lambda desired: [one.outputs_acknowledged for one in desired.executions] == [3])
    found = [output(0, position=2), output(1, position=1), output(2, position=0), output(3, position=3)]
    done = run_queue_pb2.Finished(outcome=run_queue_pb2.OUTCOME_SUCCEEDED)
    new.report(held, finished=done, outputs=found, outputs_count=4)
    ended = await rig.ended(run.id)
    assert [(one.ordinal, one.position) for one in ended.outputs] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    added = [one.output_added for one in await rig.log(run.id) if one.HasField("output_added")]
    assert [(one.ordinal, one.position) for one in added] == [(0, 0), (1, 1), (2, 2), (3, 3)]


async def test_the_spec_is_sent_until_it_is_listed_and_not_again(rig: QueueRig) -> None:
    garage = await rig.attached()
    run = await rig.create()
    held = await garage.assigned(run.id)
    assert held.HasField("spec")
    garage.report(held, staging=run_queue_pb2.Staging())
    garage.run(held, seconds=1)
    again = await garage.until(lambda desired: next((one for one in desired.executions if one.submitted), None))
    assert not again.HasField("spec")


async def test_a_newer_session_ends_the_older_and_adopts_its_executions(rig: QueueRig) -> None:
    old = await rig.attached()
    run = await rig.create()
    held = await old.assigned(run.id)
    new = await rig.attached()
    adopted = await new.assigned(run.id)
    assert (adopted.attempt, adopted.runner_id) == (held.attempt, held.runner_id)
    assert adopted.epoch > held.epoch
    async with asyncio.timeout(DEADLINE):
        await old.ended.wait()
    assert old.ended_by is not None
    assert old.ended_by.code() is grpc.StatusCode.ABORTED
    assert error_of(old.ended_by).reason == "SUPERSEDED"
    old.open()  # it does not know that it is over
    async with asyncio.timeout(DEADLINE):
        await old.ended.wait()
    assert old.ended_by.code() is grpc.StatusCode.ABORTED
    new.finish(adopted)
    assert (await rig.ended(run.id)).state == run_pb2.RUN_STATE_SUCCEEDED


async def test_a_report_under_an_old_epoch_does_not_count(rig: QueueRig) -> None:
    old = await rig.attached()
    run = await rig.create()
    stale = await old.assigned(run.id)
    new = await rig.attached()
    held = await new.assigned(run.id)
    new.finish(stale, run_queue_pb2.OUTCOME_FAILED, error=NODE_ERROR)
    new.run(held, seconds=1)
    await rig.in_state(run.id, run_pb2.RUN_STATE_RUNNING)
    new.finish(held)
    assert (await rig.ended(run.id)).state == run_pb2.RUN_STATE_SUCCEEDED


async def test_the_same_session_comes_back_with_its_epoch(rig: QueueRig) -> None:
    garage = await rig.attached()
    run = await rig.create()
    held = await garage.assigned(run.id)
    await garage.close()
    garage.desired.clear()
    garage.run(held, seconds=1)
    garage.open()
    assert (await garage.assigned(run.id)).epoch == held.epoch
    garage.finish(held)
    assert (await rig.ended(run.id)).state == run_pb2.RUN_STATE_SUCCEEDED


async def test_a_cancelled_execution_is_told_and_ends_cancelled(rig: QueueRig) -> None:
    garage = await rig.attached()
    run = await rig.create()
    held = await garage.assigned(run.id)
    garage.run(held, seconds=1)
    await rig.in_state(run.id, run_pb2.RUN_STATE_RUNNING)
    assert (await rig.cancel(run.id)).state == run_pb2.RUN_STATE_RUNNING
    await garage.until(lambda desired: [one.action for one in desired.executions] == [CANCEL])
    garage.finish(held, run_queue_pb2.OUTCOME_INTERRUPTED)
    assert (await rig.ended(run.id)).state == run_pb2.RUN_STATE_CANCELLED


async def test_a_success_that_is_faster_than_the_cancel_wins(rig: QueueRig) -> None:
    garage = await rig.attached()
    run = await rig.create()
    held = await garage.assigned(run.id)
    await rig.cancel(run.id)
    garage.finish(held)
    ended = await rig.ended(run.id)
    assert ended.state == run_pb2.RUN_STATE_SUCCEEDED
    assert ended.cancel_requested


async def test_blamed_ends_are_counted_and_free_ones_are_not(rig: QueueRig) -> None:
    garage = await rig.attached()
    run = await rig.create(max_attempts=2)
    garage.finish(await garage.assigned(run.id, attempt=1), run_queue_pb2.OUTCOME_HANDED_BACK)
    garage.finish(await garage.assigned(run.id, attempt=2), run_queue_pb2.OUTCOME_INTERRUPTED)
    garage.finish(await garage.assigned(run.id, attempt=3), run_queue_pb2.OUTCOME_FAILED, error=SHAKY)
    garage.finish(await garage.assigned(run.id, attempt=4), run_queue_pb2.OUTCOME_OUTPUT_LOST)
    ended = await rig.ended(run.id)
    assert (ended.state, ended.attempt, ended.blamed_attempts) == (run_pb2.RUN_STATE_FAILED, 4, 2)
    assert ended.error.code == "OUTPUT_LOST"


async def test_a_final_error_ends_the_run_with_its_cause(rig: QueueRig) -> None:
    garage = await rig.attached()
    run = await rig.create()
    garage.finish(await garage.assigned(run.id), run_queue_pb2.OUTCOME_FAILED, error=NODE_ERROR)
    ended = await rig.ended(run.id)
    assert (ended.state, ended.error.code, ended.error.node_id) == (run_pb2.RUN_STATE_FAILED, "NODE_ERROR", "2")


async def test_a_lost_executing_run_that_may_not_be_repeated_fails(rig: QueueRig) -> None:
    garage = await rig.attached()
    run = await rig.create(retry_on_lost=False)
    held = await garage.assigned(run.id)
    garage.run(held, seconds=1)
    await rig.in_state(run.id, run_pb2.RUN_STATE_RUNNING)
    garage.finish(held, run_queue_pb2.OUTCOME_LOST)
    ended = await rig.ended(run.id)
    assert (ended.state, ended.error.code) == (run_pb2.RUN_STATE_FAILED, "RUNNER_LOST")


async def test_a_graph_that_every_runner_refuses_is_invalid(rig: QueueRig) -> None:
    garage = await rig.attached("ak-fleet", "one", local_key="a")
    other = await rig.attached("ak-fleet", "two", local_key="b")
    run = await rig.create()
    both = {"one": garage, "two": other}
    first = await _whoever(both, run.id, 1)
    both.pop(first[0]).finish(first[1], run_queue_pb2.OUTCOME_REJECTED_HERE, missing_capabilities=["SomeModel"])
    second = await _whoever(both, run.id, 2)
    assert second[1].runner_id != first[1].runner_id
    both[second[0]].finish(second[1], run_queue_pb2.OUTCOME_REJECTED_HERE)
    ended = await rig.ended(run.id)
    assert (ended.state, ended.blamed_attempts) == (run_pb2.RUN_STATE_INVALID, 1)


async def test_a_success_whose_outputs_are_not_all_there_waits_for_them(rig: QueueRig) -> None:
    garage = await rig.attached()
    run = await rig.create()
    held = await garage.assigned(run.id)
    done = run_queue_pb2.Finished(outcome=run_queue_pb2.OUTCOME_SUCCEEDED)
    garage.report(held, finished=done, outputs_count=1)
    garage.finish(held, outputs=1)
    ended = await rig.ended(run.id)
    assert len(ended.outputs) == 1


async def test_waiting_runs_follow_one_another_by_priority(rig: QueueRig) -> None:
    first, later, urgent = await rig.create(), await rig.create(), await rig.create(priority=5)
    garage = await rig.attached(ahead_slots=0)
    for run in (urgent, first, later):
        garage.finish(await garage.assigned(run.id))
        await garage.gone(run.id)


async def test_short_runs_enter_the_backend_ahead_and_long_ones_are_staged(rig: QueueRig) -> None:
    garage = await rig.attached()
    runs = [await rig.create() for _ in range(6)]
    await garage.until(lambda desired: len(desired.executions) == 2)
    assert (await garage.assigned(runs[1].id)).action == STAGE  # nothing is known of such runs yet
    garage.finish(await garage.assigned(runs[0].id), milliseconds=5)
    garage.finish(await garage.assigned(runs[1].id), milliseconds=5)
    held = await garage.until(lambda desired: len(desired.executions) == 4 and list(desired.executions))
    assert [one.run_id for one in held] == [run.id for run in runs[2:]]
    assert {one.action for one in held} == {RUN}
    orders = [one.order for one in held]
    assert orders == sorted(set(orders))


async def test_a_run_that_waits_at_a_busy_runner_is_recalled_for_an_idle_one(rig: QueueRig) -> None:
    busy = await rig.attached("ak-fleet", "one", local_key="a")
    first, second = await rig.create(), await rig.create()
    busy.run(await busy.assigned(first.id), seconds=1)
    waiting = await busy.assigned(second.id)
    idle = await rig.attached("ak-fleet", "two", local_key="b")
    await busy.until(lambda desired: RECALL in [one.action for one in desired.executions])
    busy.finish(waiting, run_queue_pb2.OUTCOME_RECALLED)
    idle.finish(await idle.assigned(second.id, attempt=2))
    ended = await rig.ended(second.id)
    assert (ended.state, ended.blamed_attempts) == (run_pb2.RUN_STATE_SUCCEEDED, 0)


async def test_a_runner_with_strangers_prompts_or_without_recovery_gets_nothing(rig: QueueRig) -> None:
    garage = await rig.attached(foreign_prompts=1)
    run = await rig.create()
    garage.state.runners[0].foreign_prompts = 0
    garage.state.runners[0].recovered = False
    garage.send()
    other = await rig.attached("ak-fleet", "two", local_key="b")
    await other.assigned(run.id)
    assert all(not one.executions for one in garage.desired)


async def test_a_teams_runner_serves_its_team_alone(rig: QueueRig) -> None:
    garage = await rig.attached("ak-bob")
    foreign, own = await rig.create(ALICE), await rig.create(BOB)
    held = await garage.assigned(own.id)
    assert garage.specs[own.id].cache_salt == ""
    garage.finish(held)
    await rig.ended(own.id, BOB)
    assert (await rig.get(foreign.id)).state == run_pb2.RUN_STATE_QUEUED
    listed = await rig.runners.ListRunners(runner_pb2.ListRunnersRequest(), metadata=ALICE, timeout=DEADLINE)
    assert not listed.runners
    request = runner_pb2.GetRunnerRequest(runner_id=held.runner_id)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rig.runners.GetRunner(request, metadata=ALICE, timeout=DEADLINE)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_tags_choose_the_runner(rig: QueueRig) -> None:
    plain = await rig.attached("ak-fleet", "plain", local_key="a")
    tagged = await rig.attached("ak-fleet", "tagged", local_key="b", tags=["big", "eu"])
    run = await rig.create(tags=["big"])
    await tagged.assigned(run.id)
    assert all(not one.executions for one in plain.desired)


async def test_require_runner_is_refused_when_none_could_serve(rig: QueueRig) -> None:
    await rig.attached()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rig.create(tags=["nobody-has-this"], require_runner=True)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert (await rig.create(require_runner=True)).id


async def test_two_dispatchers_of_one_name_are_strangers(rig: QueueRig) -> None:
    alices, bobs = await rig.attached("ak-alice", "garage"), await rig.attached("ak-bob", "garage")
    run = await rig.create(ALICE)
    await alices.assigned(run.id)
    assert all(not one.executions for one in bobs.desired)
    assert alices.ended_by is None


async def test_a_draining_dispatcher_gets_nothing_new(rig: QueueRig) -> None:
    garage = await rig.attached()
    run = await rig.create()
    held = await garage.assigned(run.id)
    garage.state.draining = True
    garage.finish(held, run_queue_pb2.OUTCOME_HANDED_BACK)
    await garage.gone(run.id)
    other = await rig.attached("ak-fleet", "two", local_key="b")
    await other.assigned(run.id, attempt=2)


async def test_a_malformed_message_ends_the_stream(rig: QueueRig) -> None:
    garage = rig.dispatcher()
    garage.add_runner("same")
    garage.add_runner("same")
    garage.open()
    async with asyncio.timeout(DEADLINE):
        await garage.ended.wait()
    assert garage.ended_by is not None
    assert garage.ended_by.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_program_may_not_synchronize(rig: QueueRig) -> None:
    garage = rig.dispatcher("sk-alice")
    garage.open()
    async with asyncio.timeout(DEADLINE):
        await garage.ended.wait()
    assert garage.ended_by is not None
    assert garage.ended_by.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_previews_reach_watchers_while_somebody_watches(rig: QueueRig) -> None:
    garage = await rig.attached()
    run = await rig.create()
    held = await garage.assigned(run.id)
    garage.run(held, seconds=1)
    frame = run_queue_pb2.PreviewFrame(run_id=run.id, attempt=1, media_type="image/jpeg", image=b"jpeg", number=1)
    assert await garage.publish(frame) == 0  # nobody watches
    request = run_service_pb2.WatchRunRequest(run_id=run.id, previews=True)
    watch = rig.runs.WatchRun(request, metadata=ALICE, timeout=DEADLINE)
    messages = aiter(watch)
    await anext(messages)
    await garage.until(lambda desired: [one.preview for one in desired.executions] == [True])
    stranger = await rig.attached("ak-bob")
    assert await stranger.publish(frame) == 0
    assert await garage.publish(frame) == 1
    while not (event := await anext(messages)).HasField("preview"):
        pass
    assert event.preview.image == b"jpeg"
    watch.cancel()


async def test_an_execution_that_nothing_confirms_for_a_lease_is_given_away(database: Database) -> None:
    async with open_queue_rig(database, lease=timedelta(seconds=1)) as rig:
        garage = await rig.attached()
        run = await rig.create()
        held = await garage.assigned(run.id)
        old = Duration()
        old.FromSeconds(5)
        garage.report(held, running=run_queue_pb2.Running(), observed_age=old)
        again = await garage.assigned(run.id, attempt=2)
        garage.finish(again)
        ended = await rig.ended(run.id)
        assert (ended.state, ended.attempt) == (run_pb2.RUN_STATE_SUCCEEDED, 2)


async def test_a_late_success_counts_until_the_run_is_given_to_another(database: Database) -> None:
    async with open_queue_rig(database, lease=timedelta(seconds=1)) as rig:
        garage = await rig.attached()
        run = await rig.create()
        held = await garage.assigned(run.id)
        garage.run(held, seconds=1)
        await rig.in_state(run.id, run_pb2.RUN_STATE_RUNNING)
        await garage.close()
        await _waits_again(rig, run.id)
        garage.finish(held)
        garage.open()
        ended = await rig.ended(run.id)
        assert (ended.state, ended.attempt) == (run_pb2.RUN_STATE_SUCCEEDED, 1)


async def test_a_late_success_does_not_count_after_that(database: Database) -> None:
    async with open_queue_rig(database, lease=timedelta(seconds=1)) as rig:
        garage = await rig.attached()
        run = await rig.create()
        held = await garage.assigned(run.id)
        await garage.close()
        await _waits_again(rig, run.id)
        other = await rig.attached("ak-fleet", "two", local_key="b")
        again = await other.assigned(run.id, attempt=2)
        garage.finish(held, outputs=3)
        garage.open()
        await garage.until(lambda desired: bool(desired.runners))
        other.finish(again, outputs=1)
        ended = await rig.ended(run.id)
        assert (ended.attempt, len(ended.outputs)) == (2, 1)


async def test_a_run_that_was_only_cut_off_goes_on_in_its_attempt(database: Database) -> None:
    async with open_queue_rig(database, lease=timedelta(seconds=1)) as rig:
        garage = await rig.attached()
        run = await rig.create()
        held = await garage.assigned(run.id)
        garage.run(held, seconds=1)
        await rig.in_state(run.id, run_pb2.RUN_STATE_RUNNING)
        await garage.close()
        await _waits_again(rig, run.id)
        garage.open()
        back = await garage.until(
            lambda desired: next((one for one in desired.executions if one.epoch > held.epoch), None)
        )
        assert (back.run_id, back.attempt, back.submitted) == (run.id, 1, True)
        garage.finish(back)
        ended = await rig.ended(run.id)
        assert (ended.state, ended.attempt, ended.blamed_attempts) == (run_pb2.RUN_STATE_SUCCEEDED, 1, 0)


async def _waits_again(rig: QueueRig, run_id: str) -> None:
    """Return once the run has gone back to QUEUED."""
    request = run_service_pb2.WatchRunRequest(run_id=run_id, after_sequence=0)
    watch = rig.runs.WatchRun(request, metadata=ALICE, timeout=DEADLINE)
    async for event in watch:
        change = event.state_changed
        if change.state == run_pb2.RUN_STATE_QUEUED and change.previous_state != run_pb2.RUN_STATE_UNSPECIFIED:
            break
    watch.cancel()


async def _whoever(
    dispatchers: dict[str, ScriptedDispatcher], run_id: str, attempt: int
) -> tuple[str, run_queue_pb2.DesiredExecution]:
    """The dispatcher that is given the attempt, and the execution."""
    waiting = {asyncio.ensure_future(one.assigned(run_id, attempt=attempt)): name for name, one in dispatchers.items()}
    done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending)
    task = done.pop()
    return waiting[task], task.result()
