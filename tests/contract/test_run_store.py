"""What the run room's stores promise, on SQLite and on PostgreSQL."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from comfyfleet.events.v1 import event_pb2
from comfyfleet.run.v1 import run_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlmodel import Session

from services.common.errors import AlreadyExists
from services.common.ids import new_id
from services.common.sql import Database
from services.run.model.error import RunError
from services.run.model.event import LoggedEvent, output_added, state_changed
from services.run.model.run import Run
from services.run.model.state import RunState, may_become
from services.run.peers.facts import RunOutbox
from services.run.store.cancellation import Stopped, cancel, overdue, time_out
from services.run.store.creation import Created, create_run, forget_requests
from services.run.store.events import append_events, events_after
from services.run.store.runs import run_by_id, snapshot_of, spec_of
from services.run.store.tables import IDEMPOTENCY, ROOM_EVENT, RUN_EVENT, TEAM_SHARE, tables
from services.run.store.transition import transition
from tests.contract.run_samples import NOW, TEAM, NoRunners, output, prepared
from tests.servers.clock import MovableClock
from tests.servers.databases import Databases
from tests.servers.migrations import check_migrations


@pytest.fixture
def room() -> str:
    return "run"


async def create(database: Database, **values: Any) -> Created:
    run = prepared(**values)
    return await database.write(lambda session: create_run(session, run, placer=NoRunners(), now=NOW))


async def move(database: Database, run_id: str, *was: RunState, to: RunState, **more: Any) -> Run | None:
    def unit(session: Session) -> Run | None:
        run = transition(session, run_id, from_states=was, to=to, now=NOW, events=1, **more)
        if run is not None:
            append_events(session, run_id, [state_changed(to, previous=was[0], attempt=run.attempt)], now=NOW, run=run)
        return run

    return await database.write(unit)


async def log_of(database: Database, run_id: str) -> list[LoggedEvent]:
    return await database.read(lambda session: events_after(session, run_id, 0))


def test_migrations_lead_to_the_tables_and_back(databases: Databases) -> None:
    check_migrations(databases.empty("run"), "run", tables.metadata)


# ---------------------------------------------------------------- creating


async def test_created_run_reads_back_as_it_was_made(database: Database) -> None:
    made = prepared(
        labels={"env": "prod"},
        metadata_json=b'{"a":1}',
        tags=("gpu", "eu"),
        priority=7,
        timeout=timedelta(milliseconds=1500),
        queue_deadline=NOW + timedelta(microseconds=1),
        input_file_ids=("f1", "f2"),
        error=RunError(code="X", message="m", traceback=("a", "b")),
    )
    created = await database.write(lambda session: create_run(session, made, placer=NoRunners(), now=NOW))
    assert not created.replayed
    assert [event.sequence for event in created.events] == [1]
    assert await database.read(lambda session: run_by_id(session, made.run.id)) == made.run
    assert await database.read(lambda session: spec_of(session, made.run.id)) == made.spec
    assert await database.read(lambda session: run_by_id(session, made.run.id, team_id="other")) is None
    (event,) = await log_of(database, made.run.id)
    assert (event.new_state, event.body["previous_state"], event.at) == (RunState.QUEUED, None, NOW)


async def test_same_request_at_once_makes_one_run(database: Database) -> None:
    made = await asyncio.gather(*(create(database, request_id="r", request_hash=b"h") for _ in range(20)))
    assert len({created.snapshot.run.id for created in made}) == 1
    assert [created.replayed for created in made].count(False) == 1


async def test_request_id_holds_for_its_team_and_hash(database: Database) -> None:
    await create(database, request_id="r", request_hash=b"h")
    with pytest.raises(AlreadyExists) as error:
        await create(database, request_id="r", request_hash=b"other")
    assert error.value.reason == "REQUEST_ID_REUSED"
    with pytest.raises(AlreadyExists) as error:
        await create(database, request_id="r", request_hash=b"h", refuse_duplicate=True)
    assert error.value.reason == "DUPLICATE_REQUEST"
    assert not (await create(database, team_id="team-b", request_id="r", request_hash=b"h")).replayed


async def test_old_requests_are_forgotten_and_young_ones_kept(database: Database) -> None:
    await create(database, request_id="r", request_hash=b"h")
    assert await database.write(lambda session: forget_requests(session, before=NOW)) == 0
    later = NOW + timedelta(seconds=1)
    assert await database.write(lambda session: forget_requests(session, before=later)) == 1
    left = await database.read(lambda session: session.connection().execute(select(IDEMPOTENCY)).all())
    assert left == []


# ---------------------------------------------------------------- states and events


async def test_of_two_who_change_a_state_one_does(database: Database) -> None:
    run_id = (await create(database)).snapshot.run.id
    ends = await asyncio.gather(
        *(
            move(database, run_id, RunState.QUEUED, to=to)
            for to in (RunState.CANCELLED, RunState.FAILED, RunState.TIMED_OUT)
        )
    )
    (winner,) = [end for end in ends if end is not None]
    assert await database.read(lambda session: run_by_id(session, run_id)) == winner
    assert winner.finished_at == NOW
    assert [event.sequence for event in await log_of(database, run_id)] == [1, 2]


async def test_report_of_an_earlier_attempt_changes_nothing(database: Database) -> None:
    run_id = (await create(database)).snapshot.run.id
    await move(database, run_id, RunState.QUEUED, to=RunState.DISPATCHED, values={"attempt": 2})
    assert await move(database, run_id, RunState.DISPATCHED, to=RunState.SUCCEEDED, attempt=1) is None
    assert await move(database, run_id, RunState.DISPATCHED, to=RunState.SUCCEEDED, attempt=2) is not None


async def test_change_that_no_run_makes_is_a_mistake(database: Database) -> None:
    run_id = (await create(database)).snapshot.run.id
    with pytest.raises(ValueError, match="SUCCEEDED"):
        await move(database, run_id, RunState.SUCCEEDED, to=RunState.QUEUED)


async def test_events_are_numbered_without_gaps_whoever_appends(database: Database) -> None:
    run_id = (await create(database)).snapshot.run.id

    async def append(start: int) -> None:
        news = [output_added(output(ordinal)) for ordinal in range(start, start + 3)]
        await database.write(lambda session: append_events(session, run_id, news, now=NOW))

    await asyncio.gather(*(append(start) for start in range(0, 30, 3)))
    log = await log_of(database, run_id)
    assert [event.sequence for event in log] == list(range(1, 32))
    for first in range(1, 31, 3):  # those of one transaction stand together, in their order
        ordinals = [event.body["ordinal"] for event in log[first : first + 3]]
        assert ordinals == [ordinals[0], ordinals[0] + 1, ordinals[0] + 2]
    run = await database.read(lambda session: run_by_id(session, run_id))
    assert run is not None
    assert run.sequence == 31


@given(tries=st.lists(st.tuples(st.sampled_from(list(RunState)), st.sampled_from(list(RunState))), max_size=15))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_rows_follow_the_state_machine(database: Database, tries: list[tuple[RunState, RunState]]) -> None:
    run_id = (await create(database)).snapshot.run.id
    state, changes = RunState.QUEUED, 0
    for was, to in tries:
        if not may_become(was, to):
            continue
        moved = await move(database, run_id, was, to=to)
        assert (moved is not None) == (state is was)
        if moved is not None:
            state, changes = to, changes + 1
    log = await log_of(database, run_id)
    assert [event.sequence for event in log] == list(range(1, changes + 2))
    assert log[-1].new_state is state


# ---------------------------------------------------------------- ends from outside


async def test_cancelled_run_leaves_the_queue_and_is_not_requeued(database: Database) -> None:
    run_id = (await create(database)).snapshot.run.id
    stopped = await database.write(lambda session: cancel(session, run_id, team_id=TEAM, now=NOW))
    assert stopped is not None
    assert stopped.snapshot.run.state is RunState.CANCELLED
    assert [event.sequence for event in stopped.events] == [2, 3]
    again = await database.write(lambda session: cancel(session, run_id, team_id=TEAM, now=NOW))
    assert again == Stopped(snapshot=stopped.snapshot)
    assert await database.write(lambda session: cancel(session, run_id, team_id="other", now=NOW)) is None
    shares = await database.read(lambda session: session.connection().execute(select(TEAM_SHARE)).all())
    assert all(share.active == 0 for share in shares)


async def test_cancel_of_an_executing_run_is_a_flag(database: Database) -> None:
    run_id = (await create(database)).snapshot.run.id
    await move(database, run_id, RunState.QUEUED, to=RunState.DISPATCHED, values={"attempt": 1, "runner_id": "none"})
    flagged = await database.write(lambda session: cancel(session, run_id, team_id=TEAM, now=NOW))
    assert flagged is not None
    assert flagged.snapshot.run.state is RunState.DISPATCHED
    assert flagged.snapshot.run.cancel_requested_at == NOW
    assert [event.sequence for event in flagged.events] == [3]
    again = await database.write(lambda session: cancel(session, run_id, team_id=TEAM, now=NOW))
    assert again is not None
    assert again.events == ()


async def test_runs_that_waited_too_long_are_found_and_ended(database: Database) -> None:
    late = (await create(database, queue_deadline=NOW)).snapshot.run.id
    await create(database, queue_deadline=NOW + timedelta(seconds=1))
    await create(database)
    dispatched = (await create(database, queue_deadline=NOW)).snapshot.run.id
    await move(database, dispatched, RunState.QUEUED, to=RunState.DISPATCHED)
    assert await database.read(lambda session: overdue(session, now=NOW)) == [late]
    ended = await database.write(lambda session: time_out(session, late, now=NOW))
    assert ended is not None
    assert ended.snapshot.run.state is RunState.TIMED_OUT
    assert ended.snapshot.run.error is not None
    assert ended.snapshot.run.error.code == "QUEUE_TTL_PASSED"
    assert await database.write(lambda session: time_out(session, dispatched, now=NOW)) is None
    assert await database.read(lambda session: overdue(session, now=NOW)) == []


# ---------------------------------------------------------------- facts


async def test_facts_leave_once_and_the_end_names_the_inputs(database: Database) -> None:
    outbox = RunOutbox(database=database, clock=MovableClock(NOW))
    run_id = (
        await create(database, input_file_ids=("f1",), delete_inputs_at_end=True, workflow_id="w", workflow_version=3)
    ).snapshot.run.id
    await database.write(lambda session: cancel(session, run_id, team_id=TEAM, now=NOW))
    facts = await outbox.unpublished(100)
    assert [fact.id for fact in facts] == [f"{run_id}.1", f"{run_id}.3"], "that a cancel was asked for is no fact"
    assert {fact.subject for fact in facts} == {f"comfyfleet.{TEAM}.run.run_state_changed"}
    first, last = (event_pb2.Event.FromString(fact.body) for fact in facts)
    assert first.run_state_changed.state == run_pb2.RUN_STATE_QUEUED
    assert not first.run_state_changed.input_file_ids
    assert last.run_state_changed.state == run_pb2.RUN_STATE_CANCELLED
    assert last.run_state_changed.previous_state == run_pb2.RUN_STATE_QUEUED
    assert list(last.run_state_changed.input_file_ids) == ["f1"]
    assert last.run_state_changed.delete_inputs
    assert (last.run_state_changed.workflow_id, last.run_state_changed.workflow_version) == ("w", 3)
    assert [fact.id for fact in await outbox.unpublished(1)] == [f"{run_id}.1"]
    await outbox.mark_published([facts[1].id])
    assert [fact.id for fact in await outbox.unpublished(100)] == [f"{run_id}.1"]
    await outbox.mark_published([facts[0].id])
    assert await outbox.unpublished(100) == []


async def test_output_facts_carry_the_output(database: Database) -> None:
    outbox = RunOutbox(database=database, clock=MovableClock(NOW))
    run_id = (await create(database)).snapshot.run.id
    await database.write(lambda session: append_events(session, run_id, [output_added(output(0))], now=NOW))
    _, fact = await outbox.unpublished(100)
    assert fact.subject == f"comfyfleet.{TEAM}.run.run_output_added"
    added = event_pb2.Event.FromString(fact.body).run_output_added
    assert (added.run_id, added.sequence, added.output.name) == (run_id, 2, "a-0.png")


async def test_facts_of_the_room_leave_too(database: Database) -> None:
    outbox = RunOutbox(database=database, clock=MovableClock(NOW))
    rows: list[dict[str, Any]] = [
        {"type": "RUNNER_CHANGED", "team_id": TEAM, "body": {"runner_id": "r", "catalogue_hash": "h"}},
        {"type": "CATALOGUE_SEEN", "team_id": None, "body": {"catalogue_hash": "h"}},
    ]
    values: list[dict[str, Any]] = [{**row, "id": new_id(), "at": NOW, "published_at": None} for row in rows]
    await database.write(lambda session: session.connection().execute(ROOM_EVENT.insert(), values) and None)
    facts = await outbox.unpublished(100)
    assert [fact.subject for fact in facts] == [
        f"comfyfleet.{TEAM}.run.runner_changed",
        "comfyfleet.fleet.run.catalogue_seen",
    ]
    await outbox.mark_published([fact.id for fact in facts])
    assert await outbox.unpublished(100) == []


async def test_what_is_no_fact_never_waits_for_the_relay(database: Database) -> None:
    run_id = (await create(database)).snapshot.run.id
    await database.write(lambda session: cancel(session, run_id, team_id=TEAM, now=NOW))

    def waiting(session: Session) -> list[int]:
        query = select(RUN_EVENT.c.sequence).where(RUN_EVENT.c.published_at.is_(None)).order_by(RUN_EVENT.c.sequence)
        return list(session.connection().execute(query).scalars())

    assert await database.read(waiting) == [1, 3]
    assert await database.read(lambda session: snapshot_of(session, "nothing")) is None
