"""RunService over a real server, on SQLite and PostgreSQL."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio
from comfyfleet.registry.v1 import workflow_pb2
from comfyfleet.run.v1 import run_event_pb2, run_pb2, run_service_pb2
from google.protobuf.duration_pb2 import Duration
from grpc.aio import AioRpcError

from services.common.errors import DomainError, InvalidArgument
from services.common.ids import new_id
from services.common.json_bytes import JsonValue, canonical_json
from services.common.sql import Database
from services.common.status import error_of
from services.run.model.progress import RunPreview, RunProgress
from services.run.model.state import RunState
from tests.rpc.run_rig import ALICE, BOB, DEADLINE, READER, ROOM, RunRig, Watch, open_run_rig

BIGGEST_SEED = 18446744073709551615
GRAPH = canonical_json({"3": {"class_type": "Any", "inputs": {"seed": 0, "text": "a"}}})
PICTURES = canonical_json({"1": {"class_type": "LoadImage", "inputs": {"image": "a.png", "mask": "b.png"}}})

Code = grpc.StatusCode


@pytest.fixture
def room() -> str:
    return "run"


@pytest_asyncio.fixture
async def rig(database: Database) -> AsyncIterator[RunRig]:
    async with open_run_rig(database) as opened:
        yield opened


def parameter(key: str, kind: "workflow_pb2.ParameterType.ValueType", *targets: str, **more: Any) -> Any:
    places = [target.split(".", 1) for target in targets]
    return workflow_pb2.Parameter(
        key=key,
        type=kind,
        targets=[workflow_pb2.ParameterTarget(node_id=node, input=name) for node, name in places],
        **more,
    )


SEED = parameter("seed", workflow_pb2.PARAMETER_TYPE_INTEGER, "3.seed", minimum_json=b"0")
PROMPT = parameter("prompt", workflow_pb2.PARAMETER_TYPE_STRING, "3.text", required=True)
PHOTO = parameter("photo", workflow_pb2.PARAMETER_TYPE_FILE, "1.image")


def refusal(error: pytest.ExceptionInfo[AioRpcError]) -> tuple[Code, str]:
    return error.value.code(), error_of(error.value).reason


def violations(error: pytest.ExceptionInfo[AioRpcError]) -> list[tuple[str, str]]:
    found: DomainError = error_of(error.value)
    assert isinstance(found, InvalidArgument), found
    return [(each.field, each.reason) for each in found.violations]


def sequences(events: list[run_event_pb2.RunEvent]) -> list[int]:
    return [event.sequence for event in events if event.sequence]


async def inputs_of(rig: RunRig, run_id: str, node_id: str = "3") -> dict[str, Any]:
    request = run_service_pb2.GetRunRequest(run_id=run_id, view=run_pb2.RUN_VIEW_FULL)
    run = (await rig.stub.GetRun(request, metadata=ALICE, timeout=DEADLINE)).run
    inputs: dict[str, Any] = json.loads(run.graph_json)[node_id]["inputs"]
    return inputs


# ---------------------------------------------------------------- creating


async def test_run_of_a_workflow_pins_its_version(rig: RunRig) -> None:
    workflow = rig.registry.add("portrait", GRAPH, SEED, PROMPT)
    created = await rig.create(workflow="portrait", parameters_json=b'{"prompt": "a cat"}', labels={"env": "test"})
    run = created.run
    assert (run.workflow_id, run.workflow_version, run.workflow_slug) == (workflow.id, 1, "portrait")
    assert (run.state, run.sequence, run.attempt) == (run_pb2.RUN_STATE_QUEUED, 1, 0)
    assert run.display_name == "Portrait"
    assert run.labels == {"env": "test"}
    assert run.timeout.ToTimedelta() == timedelta(hours=1)
    assert run.queue_deadline.ToDatetime() - run.create_time.ToDatetime() == timedelta(hours=24)
    assert run.max_attempts == 3
    assert run.retry_on_lost
    assert not run.graph_json
    assert not created.replayed
    assert rig.fleet.woken == ["queued"]
    again = await rig.stub.GetRun(run_service_pb2.GetRunRequest(run_id=run.id), metadata=ALICE, timeout=DEADLINE)
    assert again.run == run


async def test_inline_graph_without_parameters_asks_nobody(rig: RunRig) -> None:
    await rig.create(graph_json=GRAPH)
    assert rig.registry.reads == rig.registry.discoveries == 0
    assert rig.files.bound == []


async def test_inline_graph_with_parameters_has_those_that_are_discovered(rig: RunRig) -> None:
    rig.registry.discovered = [SEED]
    created = await rig.create(graph_json=GRAPH, parameters_json=b'{"seed": 5}')
    assert await inputs_of(rig, created.run.id) == {"seed": 5, "text": "a"}
    assert rig.registry.discoveries == 1


async def test_workflow_is_read_once_until_it_changes(rig: RunRig) -> None:
    workflow = rig.registry.add("portrait", GRAPH)
    await rig.create(workflow="portrait")
    rig.registry.add("portrait", GRAPH)
    assert (await rig.create(workflow="portrait")).run.workflow_version == 1
    assert rig.registry.reads == 1
    rig.workflows.forget(workflow.id)
    assert (await rig.create(workflow="portrait")).run.workflow_version == 2


@pytest.mark.parametrize(
    "request_of",
    [
        {"parameters_json": b'{"prompt": "p", "seed": 18446744073709551615}'},
        {"parameters_text": {"prompt": ["p"], "seed": ["18446744073709551615"]}},
        {"parameters_json": b'{"prompt":"p"}', "overrides_json": b'{"3":{"inputs":{"seed":18446744073709551615}}}'},
    ],
    ids=["typed", "text", "override"],
)
async def test_largest_seed_is_exact_on_every_path(rig: RunRig, request_of: dict[str, Any]) -> None:
    rig.registry.add("portrait", GRAPH, SEED, PROMPT)
    texts = {
        key: run_service_pb2.TextValues(values=values) for key, values in request_of.get("parameters_text", {}).items()
    }
    created = await rig.create(workflow="portrait", **{**request_of, "parameters_text": texts})
    assert await inputs_of(rig, created.run.id) == {"seed": BIGGEST_SEED, "text": "p"}


async def test_all_violations_come_at_once(rig: RunRig) -> None:
    rig.registry.add("both", canonical_json({**json.loads(GRAPH), **json.loads(PICTURES)}), SEED, PROMPT, PHOTO)
    stranger = new_id()
    with pytest.raises(AioRpcError) as error:
        await rig.create(
            workflow="both",
            parameters_json=canonical_json({"seed": "5", "size": 1, "photo": stranger}),
            overrides_json=b'{"3": {"inputs": {"nothing": 1}}, "8": {"inputs": {}}}',
            metadata_json=b"[]",
            extra_data_json=b'{"a": NaN}',
            priority=101,
            labels={"": "x"},
            queue_ttl=Duration(seconds=5),
            queue_ttl_unlimited=True,
        )
    assert Counter(violations(error)) == Counter(
        [
            ("labels.", "BAD_LABEL"),
            ("priority", "OUT_OF_RANGE"),
            ("queue_ttl", "GIVEN_TWICE"),
            ("extra_data", "NOT_A_NUMBER"),
            ("metadata", "NOT_AN_OBJECT"),
            ("parameters.size", "UNKNOWN_PARAMETER"),
            ("parameters.seed", "WRONG_TYPE"),
            ("parameters.prompt", "MISSING_PARAMETER"),
            ("overrides.3.inputs.nothing", "UNKNOWN_INPUT"),
            ("overrides.8", "UNKNOWN_NODE"),
            ("parameters.photo", "FILE_NOT_FOUND"),
        ]
    )


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (b"[]", ("graph", "NOT_AN_OBJECT")),
        (b'{"nodes": [], "links": []}', ("graph", "UI_FORMAT")),
        (b'{"3": {"inputs": {}}}', ("graph.3.class_type", "MISSING_CLASS")),
        (b'{"3": {"class_type": "A", "inputs": {"t": "\\u0000"}}}', ("graph", "BAD_STRING")),
        (b"{", ("graph", "SYNTAX")),
    ],
)
async def test_graph_that_is_none_is_refused(rig: RunRig, graph: bytes, expected: tuple[str, str]) -> None:
    with pytest.raises(AioRpcError) as error:
        await rig.create(graph_json=graph)
    assert expected in violations(error)


async def test_hostile_strings_are_refused_and_never_crash(rig: RunRig) -> None:
    with pytest.raises(AioRpcError) as error:
        await rig.create(graph_json=GRAPH, display_name="a\x00b", group="\x00", request_id="\x00", tags=["\x00"])
    assert {reason for _, reason in violations(error)} == {"BAD_STRING"}
    with pytest.raises(AioRpcError) as error:
        await rig.create(graph_json=GRAPH, timeout=Duration(seconds=2**62))
    assert violations(error) == [("timeout", "OUT_OF_RANGE")]
    with pytest.raises(AioRpcError) as error:
        await rig.create()
    assert violations(error) == [("workflow", "MISSING_SOURCE")]
    with pytest.raises(AioRpcError) as error:
        await rig.stub.GetRun(run_service_pb2.GetRunRequest(run_id="\x00"), metadata=ALICE, timeout=DEADLINE)
    assert refusal(error) == (Code.NOT_FOUND, "RUN_NOT_FOUND")


async def test_files_are_stored_bound_and_named_in_the_graph(rig: RunRig) -> None:
    rig.registry.add("picture", PICTURES, PHOTO)
    known = rig.files.add("known.png")
    created = await rig.create(
        workflow="picture", parameters_json=canonical_json({"photo": known.id}), delete_inputs_at_end=True
    )
    assert list(created.run.input_file_ids) == [known.id]
    assert rig.files.bound[-1].run_id == created.run.id
    assert rig.files.bound[-1].delete_at_end
    assert (await inputs_of(rig, created.run.id, "1"))["image"] == known.id
    imported = await rig.create(workflow="picture", parameters_json=b'{"photo": "data:image/png;base64,AAAA"}')
    file_id = imported.run.input_file_ids[0]
    assert rig.files.files[file_id].file_name == "imported"
    request = run_service_pb2.GetRunRequest(run_id=imported.run.id, view=run_pb2.RUN_VIEW_FULL)
    full = (await rig.stub.GetRun(request, metadata=ALICE, timeout=DEADLINE)).run
    assert json.loads(full.parameters_json) == {"photo": file_id}
    with pytest.raises(AioRpcError) as error:
        await rig.create(workflow="picture", parameters_json=b'{"photo": "data:image/png;base64,broken"}')
    assert violations(error) == [("parameters.photo", "BAD_FILE")]


async def test_run_without_a_runner_is_refused_where_one_is_required(rig: RunRig) -> None:
    rig.fleet.has_runners = False
    with pytest.raises(AioRpcError) as error:
        await rig.create(graph_json=GRAPH, require_runner=True, request_id="once")
    assert refusal(error) == (Code.FAILED_PRECONDITION, "NO_RUNNER")
    rig.fleet.has_runners = True
    assert not (await rig.create(graph_json=GRAPH, require_runner=True, request_id="once")).replayed


async def test_creating_needs_the_scope_and_a_credential(rig: RunRig) -> None:
    with pytest.raises(AioRpcError) as error:
        await rig.create(READER, graph_json=GRAPH)
    assert error.value.code() is Code.PERMISSION_DENIED
    with pytest.raises(AioRpcError) as error:
        await rig.create((), graph_json=GRAPH)
    assert error.value.code() is Code.UNAUTHENTICATED


async def test_refusal_of_a_request_that_is_wrong_everywhere_still_arrives(rig: RunRig) -> None:
    overrides: JsonValue = {f"{n}" + "x" * 5000: {"inputs": {}} for n in range(500)}
    with pytest.raises(AioRpcError) as error:
        await rig.create(graph_json=GRAPH, overrides_json=canonical_json(overrides))
    assert error.value.code() is Code.INVALID_ARGUMENT
    found = violations(error)
    assert found
    assert {reason for _, reason in found} == {"UNKNOWN_NODE"}


async def test_large_graph_is_taken_and_holds_up_nobody(rig: RunRig) -> None:
    graph: JsonValue = {str(n): {"class_type": "Any", "inputs": {"text": "x" * 400, "n": n}} for n in range(9000)}
    data = canonical_json(graph)
    large = asyncio.ensure_future(rig.create(graph_json=data))
    small = await rig.create(graph_json=GRAPH)
    assert not large.done()
    created = (await large).run
    assert created.create_time.ToDatetime() >= small.run.create_time.ToDatetime()
    request = run_service_pb2.GetRunRequest(run_id=created.id, view=run_pb2.RUN_VIEW_FULL)
    full = (await rig.stub.GetRun(request, metadata=ALICE, timeout=DEADLINE)).run
    assert full.graph_json == data


# ---------------------------------------------------------------- the same request again


async def test_fifty_callers_of_one_request_make_one_run(rig: RunRig) -> None:
    answers = await asyncio.gather(*(rig.create(graph_json=GRAPH, request_id="same") for _ in range(50)))
    assert len({answer.run.id for answer in answers}) == 1
    assert [answer.replayed for answer in answers].count(False) == 1
    assert len({answer.run.SerializeToString(deterministic=True) for answer in answers}) == 1
    listed = await rig.stub.ListRuns(run_service_pb2.ListRunsRequest(), metadata=ALICE, timeout=DEADLINE)
    assert len(listed.runs) == 1


async def test_same_request_is_the_same_however_it_is_spelt(rig: RunRig) -> None:
    first = await rig.create(graph_json=GRAPH, request_id="r", metadata_json=b'{"a":1,"b":2}', origin="rest")
    second = await rig.create(
        graph_json=json.dumps(json.loads(GRAPH), indent=2).encode(), request_id="r", metadata_json=b'{ "b": 2, "a": 1}'
    )
    assert second.replayed
    assert second.run.id == first.run.id


async def test_another_request_under_the_same_id_is_refused(rig: RunRig) -> None:
    first = await rig.create(graph_json=GRAPH, request_id="r")
    with pytest.raises(AioRpcError) as error:
        await rig.create(graph_json=GRAPH, request_id="r", priority=1)
    assert refusal(error) == (Code.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    with pytest.raises(AioRpcError) as error:
        await rig.create(graph_json=GRAPH, request_id="r", on_duplicate=run_service_pb2.ON_DUPLICATE_REJECT)
    assert refusal(error) == (Code.ALREADY_EXISTS, "DUPLICATE_REQUEST")
    assert error_of(error.value).metadata["run_id"] == first.run.id
    assert not (await rig.create(BOB, graph_json=GRAPH, request_id="r", priority=1)).replayed


async def test_replay_works_when_what_it_names_is_gone(rig: RunRig) -> None:
    workflow = rig.registry.add("picture", PICTURES, PHOTO)
    file = rig.files.add("known.png")
    request: dict[str, Any] = {
        "workflow": "picture",
        "parameters_json": canonical_json({"photo": file.id}),
        "request_id": "r",
    }
    first = await rig.create(**request)
    rig.files.files.clear()
    assert (await rig.create(**request)).run.id == first.run.id
    assert len(rig.files.bound) == 1, "files are bound for no second run"
    rig.registry.workflows.clear()
    rig.workflows.forget(workflow.id)
    assert (await rig.create(**request)).run.id == first.run.id


# ---------------------------------------------------------------- watching


async def test_watcher_sees_a_snapshot_and_then_everything_once(rig: RunRig) -> None:
    run_id = (await rig.create(graph_json=GRAPH)).run.id
    watch = rig.watch(run_id)
    first = await watch.next()
    assert first.snapshot.id == run_id
    assert first.sequence == 1
    await rig.fleet.complete(run_id)
    events = await watch.rest()
    assert sequences(events) == [2, 3, 4, 5, 6, 7]
    last = events[-1].state_changed
    assert (last.state, last.previous_state) == (run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_RUNNING)
    assert [output.name for output in last.run.outputs] == ["a-0.png", "a-1.png"]
    assert last.run.HasField("end_time")
    assert not last.run.partial_outputs


async def test_resumed_watcher_sees_each_event_once(rig: RunRig) -> None:
    run_id = (await rig.create(graph_json=GRAPH)).run.id
    seen: list[int] = []
    watch = rig.watch(run_id, after_sequence=0)
    seen += sequences(await watch.some(1))
    await rig.fleet.dispatch(run_id)
    seen += sequences(await watch.some(1))  # the first of two
    watch.drop()
    await rig.fleet.start(run_id)
    await rig.fleet.add_output(run_id, 0)
    watch = rig.watch(run_id, after_sequence=seen[-1])
    seen += sequences(await watch.some(3))
    watch.drop()
    await rig.fleet.add_output(run_id, 1)
    await rig.fleet.end(run_id)
    seen += sequences(await rig.watch(run_id, after_sequence=seen[-1]).rest())
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert await rig.watch(run_id, after_sequence=7).rest() == []


async def test_lost_words_are_made_good_from_the_rows(rig: RunRig) -> None:
    run_id = (await rig.create(graph_json=GRAPH)).run.id
    watch = rig.watch(run_id)
    await watch.next()
    await rig.fleet.dispatch(run_id, silently=True)
    await rig.fleet.start(run_id, silently=True)
    await rig.fleet.add_output(run_id, 0)  # the gap shows: 5 after 1
    assert sequences(await watch.some(4)) == [2, 3, 4, 5]
    await rig.fleet.end(run_id, silently=True)  # and a word that never comes is looked for
    assert sequences(await watch.rest()) == [6]


async def test_run_that_ended_is_told_at_once(rig: RunRig) -> None:
    run_id = (await rig.create(graph_json=GRAPH)).run.id
    await rig.fleet.complete(run_id)
    (only,) = await rig.watch(run_id).rest()
    assert only.snapshot.state == run_pb2.RUN_STATE_SUCCEEDED
    events = await rig.watch(run_id, after_sequence=0).rest()
    assert sequences(events) == [1, 2, 3, 4, 5, 6, 7]
    assert len(events[-1].state_changed.run.outputs) == 2


async def test_cursor_beyond_the_end_and_unknown_runs_are_refused(rig: RunRig) -> None:
    run_id = (await rig.create(graph_json=GRAPH)).run.id
    with pytest.raises(AioRpcError) as error:
        await rig.watch(run_id, after_sequence=2).rest()
    assert refusal(error) == (Code.OUT_OF_RANGE, "CURSOR_BEYOND_END")
    with pytest.raises(AioRpcError) as error:
        await rig.watch(new_id()).rest()
    assert refusal(error) == (Code.NOT_FOUND, "RUN_NOT_FOUND")


async def test_progress_and_previews_reach_those_who_want_them(rig: RunRig) -> None:
    run_id = (await rig.create(graph_json=GRAPH)).run.id
    wanting, plain = rig.watch(run_id, previews=True), rig.watch(run_id, progress=False)
    await wanting.next()
    await plain.next()
    assert rig.feed.preview_wanted(run_id)
    await rig.fleet.dispatch(run_id)
    await wanting.some(2)
    rig.feed.progress(run_id, RunProgress(attempt=1, fraction=0.5, elapsed=timedelta(seconds=2)))
    progress = await wanting.next()
    assert (progress.progress.fraction, progress.sequence) == (0.5, 0)
    rig.feed.preview(run_id, RunPreview(attempt=1, node_id="3", media_type="image/png", image=b"png", number=1))
    assert (await wanting.next()).preview.image == b"png"
    await rig.fleet.start(run_id)
    await rig.fleet.end(run_id, RunState.FAILED)
    assert all(event.sequence for event in await plain.rest())


async def test_slow_watcher_misses_no_event_of_thousands(rig: RunRig) -> None:
    run_id = (await rig.create(graph_json=GRAPH)).run.id
    watch = rig.watch(run_id, after_sequence=0)
    await watch.next()
    await rig.fleet.dispatch(run_id)
    await rig.fleet.start(run_id)
    for ordinal in range(600):
        await rig.fleet.add_output(run_id, ordinal)
        rig.feed.progress(run_id, RunProgress(attempt=1))
    await rig.fleet.end(run_id)
    assert sequences(await watch.rest()) == list(range(2, 606))


async def test_execute_creates_and_watches_in_one_stream(rig: RunRig) -> None:
    rig.fleet.dispatcher_id = "d1"
    request = run_service_pb2.CreateRunRequest(graph_json=GRAPH, request_id="once")
    watch = Watch(rig.stub.ExecuteRun(request, metadata=ALICE, timeout=DEADLINE))
    first = await watch.next()
    run_id = first.snapshot.id
    assert first.snapshot.state == run_pb2.RUN_STATE_DISPATCHED
    assert first.sequence == 3
    assert rig.fleet.woken == ["assigned d1"]
    await rig.fleet.start(run_id)
    await rig.fleet.end(run_id)
    assert sequences(await watch.rest()) == [4, 5]
    replay = Watch(rig.stub.ExecuteRun(request, metadata=ALICE, timeout=DEADLINE))
    (only,) = await replay.rest()
    assert only.snapshot.id == run_id
    assert only.snapshot.state == run_pb2.RUN_STATE_SUCCEEDED


async def test_refused_execution_sends_no_message(rig: RunRig) -> None:
    request = run_service_pb2.CreateRunRequest(graph_json=b"[]")
    with pytest.raises(AioRpcError) as error:
        await Watch(rig.stub.ExecuteRun(request, metadata=ALICE, timeout=DEADLINE)).rest()
    assert error.value.code() is Code.INVALID_ARGUMENT


async def test_wait_answers_at_the_end_or_when_the_time_is_up(rig: RunRig) -> None:
    run_id = (await rig.create(graph_json=GRAPH)).run.id
    request = run_service_pb2.WaitRunRequest(run_id=run_id, timeout=Duration(nanos=50_000_000))
    waited = await rig.stub.WaitRun(request, metadata=ALICE, timeout=DEADLINE)
    assert waited.run.state == run_pb2.RUN_STATE_QUEUED
    waiting = asyncio.ensure_future(
        rig.stub.WaitRun(run_service_pb2.WaitRunRequest(run_id=run_id), metadata=ALICE, timeout=DEADLINE)
    )
    await rig.fleet.complete(run_id)
    ended = (await waiting).run
    assert ended.state == run_pb2.RUN_STATE_SUCCEEDED
    assert len(ended.outputs) == 2


async def test_watching_many_runs_shows_those_that_match_as_they_change(rig: RunRig) -> None:
    first = (await rig.create(graph_json=GRAPH, group="mine")).run
    other = (await rig.create(graph_json=GRAPH, group="other")).run
    await rig.create(BOB, graph_json=GRAPH, group="mine")
    request = run_service_pb2.WatchRunsRequest(filter='group = "mine"')
    call = rig.stub.WatchRuns(request, metadata=ALICE, timeout=DEADLINE)
    seen_runs = aiter(call)
    seen = await anext(seen_runs)
    assert seen.run.id == first.id
    await rig.fleet.dispatch(other.id)
    await rig.fleet.dispatch(first.id)
    seen = await anext(seen_runs)
    assert (seen.run.id, seen.run.sequence) == (first.id, 3)
    second = (await rig.create(graph_json=GRAPH, group="mine")).run
    seen = await anext(seen_runs)
    assert seen.run.id == second.id
    call.cancel()
    await rig.fleet.start(first.id)
    await rig.fleet.end(first.id)
    request.cursor.CopyFrom(seen.cursor)
    call = rig.stub.WatchRuns(request, metadata=ALICE, timeout=DEADLINE)
    seen_runs = aiter(call)
    again = {(await anext(seen_runs)).run.id for _ in range(2)}
    assert again == {first.id, second.id}, "what changed in the minute before the cursor comes again"
    call.cancel()


# ---------------------------------------------------------------- reading, cancelling


async def test_other_teams_runs_do_not_exist(rig: RunRig) -> None:
    run_id = (await rig.create(graph_json=GRAPH)).run.id
    stub = rig.stub
    for call in (
        stub.GetRun(run_service_pb2.GetRunRequest(run_id=run_id), metadata=BOB, timeout=DEADLINE),
        stub.CancelRun(run_service_pb2.CancelRunRequest(run_id=run_id), metadata=BOB, timeout=DEADLINE),
        stub.WaitRun(run_service_pb2.WaitRunRequest(run_id=run_id), metadata=BOB, timeout=DEADLINE),
    ):
        with pytest.raises(AioRpcError) as error:
            await call
        assert refusal(error) == (Code.NOT_FOUND, "RUN_NOT_FOUND")
    with pytest.raises(AioRpcError) as error:
        await rig.watch(run_id, BOB).rest()
    assert refusal(error) == (Code.NOT_FOUND, "RUN_NOT_FOUND")
    asked = run_service_pb2.BatchGetRunsRequest(run_ids=[run_id, "none"])
    theirs = await stub.BatchGetRuns(asked, metadata=BOB, timeout=DEADLINE)
    assert (len(theirs.runs), list(theirs.missing_run_ids)) == (0, [run_id, "none"])
    rooms = await stub.BatchGetRuns(asked, metadata=ROOM, timeout=DEADLINE)
    assert ([run.id for run in rooms.runs], list(rooms.missing_run_ids)) == ([run_id], ["none"])
    with pytest.raises(AioRpcError) as error:
        await rig.create(BOB, workflow="portrait")
    assert error.value.code() is Code.NOT_FOUND


async def test_lists_are_filtered_ordered_and_paged(rig: RunRig) -> None:
    ids = [(await rig.create(graph_json=GRAPH, labels={"n": str(n % 2)}, client_ref=f"c{n}")).run.id for n in range(5)]
    await rig.create(BOB, graph_json=GRAPH)

    async def listed(**request: Any) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            message = run_service_pb2.ListRunsRequest(page_size=2, page_token=token, **request)
            page = await rig.stub.ListRuns(message, metadata=ALICE, timeout=DEADLINE)
            found += [run.id for run in page.runs]
            token = page.next_page_token
            if not token:
                return found

    assert await listed() == ids[::-1]
    assert await listed(order_by="create_time") == ids
    assert await listed(filter="labels.n = 1") == [ids[3], ids[1]]
    assert await listed(filter="client_ref = c2 OR client_ref = c4") == [ids[4], ids[2]]
    await rig.stub.CancelRun(run_service_pb2.CancelRunRequest(run_id=ids[0]), metadata=ALICE, timeout=DEADLINE)
    assert await listed(filter="state = CANCELLED") == [ids[0]]
    with pytest.raises(AioRpcError) as error:
        await listed(filter="colour = red")
    assert violations(error) == [("filter", "BAD_FILTER")]


async def test_waiting_run_is_cancelled_at_once_and_once(rig: RunRig) -> None:
    run_id = (await rig.create(graph_json=GRAPH)).run.id
    watch = rig.watch(run_id)
    await watch.next()
    request = run_service_pb2.CancelRunRequest(run_id=run_id)
    cancelled = (await rig.stub.CancelRun(request, metadata=ALICE, timeout=DEADLINE)).run
    assert cancelled.state == run_pb2.RUN_STATE_CANCELLED
    assert cancelled.cancel_requested
    events = await watch.rest()
    assert [event.WhichOneof("event") for event in events] == ["cancel_requested", "state_changed"]
    assert events[-1].state_changed.run.state == run_pb2.RUN_STATE_CANCELLED
    again = (await rig.stub.CancelRun(request, metadata=ALICE, timeout=DEADLINE)).run
    assert again == cancelled


async def test_executing_run_is_flagged_and_may_still_succeed(rig: RunRig) -> None:
    run_id = (await rig.create(graph_json=GRAPH)).run.id
    await rig.fleet.dispatch(run_id)
    await rig.fleet.start(run_id)
    request = run_service_pb2.CancelRunRequest(run_id=run_id)
    asked = (await rig.stub.CancelRun(request, metadata=ALICE, timeout=DEADLINE)).run
    assert (asked.state, asked.cancel_requested, asked.sequence) == (run_pb2.RUN_STATE_RUNNING, True, 5)
    assert (await rig.stub.CancelRun(request, metadata=ALICE, timeout=DEADLINE)).run.sequence == 5
    await rig.fleet.end(run_id)
    ended = (await rig.stub.CancelRun(request, metadata=ALICE, timeout=DEADLINE)).run
    assert ended.state == run_pb2.RUN_STATE_SUCCEEDED


async def test_run_that_waited_too_long_is_timed_out(rig: RunRig) -> None:
    created = await rig.create(graph_json=GRAPH, queue_ttl=Duration(nanos=1_000_000))
    events = await rig.watch(created.run.id).rest()
    run = events[-1].state_changed.run if events[-1].HasField("state_changed") else events[-1].snapshot
    assert run.state == run_pb2.RUN_STATE_TIMED_OUT
    assert run.error.code == "QUEUE_TTL_PASSED"
