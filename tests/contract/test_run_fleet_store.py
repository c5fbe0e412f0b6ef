"""What the stores of dispatchers, slots and reports promise, on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from sqlalchemy import func, select
from sqlmodel import Session

from services.common.errors import Aborted
from services.common.ids import new_id
from services.common.sql import Database
from services.run.model.decision import decide
from services.run.model.event import state_changed
from services.run.model.placement import OpenRunner, Placement, WaitingRun, place
from services.run.model.report import Finish, Outcome, OutputReport, RunnerReport, StateReport
from services.run.model.requirements import Requirements
from services.run.model.run import Run, RunSpec, TagMatch
from services.run.model.runner import Owner, RunnerHealth
from services.run.model.state import RunState
from services.run.store.assignment import class_of, heads, open_runners, waiting_lists
from services.run.store.attempt import current_attempt, reported_attempt
from services.run.store.board import fill, read_board, write_placements
from services.run.store.catalogue import catalogue_body, insert_catalogue, list_runners, may_upload
from services.run.store.events import append_events, events_after
from services.run.store.fleet import Opened, leave, open_session, renew_lease, session_of
from services.run.store.holding import read_holding, read_specs
from services.run.store.lapse import extend_leases, lapse_dispatcher, lapsed_dispatchers, overrun
from services.run.store.outcome import record_begun, record_end, record_found_again
from services.run.store.runs import insert_run, run_by_id
from services.run.store.tables import RUN_ATTEMPT, RUNNER_SLOT, TEAM_SHARE
from services.run.store.tally import Tally

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LEASE = timedelta(seconds=30)
OWNER = Owner(team_id=None, credential_id="ak")
NEEDS = Requirements(runtime="comfyui")
SECOND = timedelta(seconds=1)


@pytest.fixture
def room() -> str:
    return "run"


def report(session_id: str = "s1", *runners: RunnerReport) -> StateReport:
    said = runners or (RunnerReport(local_key="gpu", ahead_slots=2),)
    return StateReport(dispatcher_id="garage", session_id=session_id, runners=said)


async def opened(
    database: Database, made: StateReport, *, owner: Owner = OWNER, stream: str = "here", now: datetime = NOW
) -> Opened:
    return await database.write(lambda session: open_session(session, owner, made, stream=stream, lease=LEASE, now=now))


def new_run(team: str = "t", *, priority: int = 0, age: int = 0) -> Run:
    return Run(
        id=new_id(),
        team_id=team,
        credential_id="sk",
        workflow_id=None,
        workflow_version=0,
        workflow_slug="",
        request_id="",
        state=RunState.QUEUED,
        sequence=1,
        attempt=0,
        blamed_attempts=0,
        max_attempts=3,
        retry_on_lost=True,
        class_id=NEEDS.class_id,
        priority=priority,
        timeout=timedelta(hours=1),
        create_time=NOW,
        change_time=NOW,
        queued_at=NOW - timedelta(seconds=age),
        queue_deadline=None,
        dispatched_at=None,
        started_at=None,
        finished_at=None,
        expire_time=None,
        cancel_requested_at=None,
        runner_id=None,
        error=None,
        claimed_until=None,
        display_name="",
        labels={},
        metadata_json=b"",
        client_ref="",
        group_name="",
        origin="grpc",
        runtime="comfyui",
        tags=(),
        tag_match=TagMatch.ALL,
        delete_inputs_at_end=False,
        public_url="",
        input_file_ids=(),
    )


async def waiting(database: Database, *runs: Run) -> None:
    def unit(session: Session) -> None:
        class_of(session, NEEDS, now=NOW)
        tally = Tally()
        for run in runs:
            spec = RunSpec(
                run_id=run.id,
                graph_json=b"{}",
                parameters_json=b"",
                overrides_json=b"",
                extra_data_json=b"",
                inputs=(),
                output_keys={},
                warm_key="",
            )
            insert_run(session, run, spec)
            append_events(session, run.id, [state_changed(RunState.QUEUED, previous=None, attempt=0)], now=NOW, run=run)
            tally.share(run.team_id, queued=1)
        tally.write(session, new_teams=True)

    await database.write(unit)


def placements(session: Session, *, now: datetime = NOW) -> list[Placement]:
    """Every head with the next free slot of the first runner."""
    board = read_board(session, now=now)
    runner = board.runners[0]
    return [
        Placement(
            run=run,
            runner_id=runner.runner_id,
            dispatcher_id=runner.dispatcher_id,
            epoch=runner.epoch,
            slot=slot,
            predicted=SECOND,
        )
        for run, slot in zip(board.waiting, runner.free_slots, strict=False)
    ]


async def dispatched(database: Database, run: Run, *, now: datetime = NOW) -> None:
    await waiting(database, run)
    made = await database.read(placements)
    assert await database.write(lambda session: write_placements(session, made, now=now))


def output(ordinal: int) -> OutputReport:
    return OutputReport(
        ordinal=ordinal,
        node_id="2",
        key="images",
        position=ordinal,
        file_id=f"f{ordinal}",
        sha256="",
        size_bytes=1,
        media_type="image/png",
        file_name="a.png",
        kind="output",
        cached=False,
    )


async def end(database: Database, run_id: str, outcome: Outcome, *outputs: OutputReport, now: datetime = NOW) -> bool:
    def unit(session: Session) -> bool:
        current = current_attempt(session, run_id)
        if current is None:
            return False
        finish, tally = Finish(outcome=outcome, execution=SECOND), Tally()
        made = record_end(session, tally, current, decide(current.budget, finish), finish, outputs=outputs, now=now)
        tally.write(session)
        return made is not None

    return await database.write(unit)


async def share(database: Database) -> tuple[int, int, float]:
    def unit(session: Session) -> tuple[int, int, float]:
        row = session.connection().execute(select(TEAM_SHARE)).one()
        return row.queued, row.active, round(row.virtual_seconds, 3)

    return await database.read(unit)


async def stored(database: Database, run_id: str) -> Run:
    run = await database.read(lambda session: run_by_id(session, run_id))
    assert run is not None
    return run


@pytest_asyncio.fixture
async def garage(database: Database) -> str:
    """A connected dispatcher with one runner."""
    return (await opened(database, report())).dispatcher_id


async def test_a_new_session_raises_epochs_and_the_same_one_does_not(database: Database, garage: str) -> None:
    async def epoch() -> int:
        held = await database.read(lambda session: read_holding(session, garage, catalogues=False, now=NOW))
        return held.runners[0].epoch

    assert await epoch() == 1
    assert not (await opened(database, report("s1"), stream="there")).granted
    assert await epoch() == 1
    assert (await opened(database, report("s2"))).granted
    assert await epoch() == 2
    with pytest.raises(Aborted) as refused:
        await opened(database, report("s1"))
    assert refused.value.reason == "SUPERSEDED"


async def test_the_same_name_of_another_owner_is_another_dispatcher(database: Database, garage: str) -> None:
    other = await opened(database, report("s9"), owner=Owner(team_id="t", credential_id="ak2"))
    assert other.dispatcher_id != garage
    assert (await database.read(lambda session: session_of(session, garage)))[0] == "s1"


async def test_only_the_holder_renews_and_leaves(database: Database, garage: str) -> None:
    later = NOW + timedelta(seconds=10)
    assert await database.write(lambda session: renew_lease(session, garage, "s1", lease=LEASE, now=later))
    assert not await database.write(lambda session: renew_lease(session, garage, "s0", lease=LEASE, now=later))
    await database.write(lambda session: leave(session, garage, "s1", stream="elsewhere"))
    assert await database.read(lambda session: open_runners(session, now=NOW))
    await database.write(lambda session: leave(session, garage, "s1", stream="here"))
    assert not await database.read(lambda session: open_runners(session, now=NOW))


@pytest.mark.parametrize(
    "changes",
    [
        {"health": RunnerHealth.UNHEALTHY},
        {"recovered": False},
        {"foreign_prompts": 1},
        {"reaping_prompt_ids": ("p",)},
    ],
)
async def test_a_runner_that_is_not_ready_is_not_open(database: Database, changes: dict[str, object]) -> None:
    await opened(database, report("s1", replace(RunnerReport(local_key="gpu"), **changes)))  # type: ignore[arg-type]
    assert not await database.read(lambda session: open_runners(session, now=NOW))


async def test_slots_follow_what_the_runner_says(database: Database, garage: str) -> None:
    async def slots() -> int:
        return await database.read(
            lambda session: session.connection().execute(select(func.count()).select_from(RUNNER_SLOT)).scalar_one()
        )

    assert await slots() == 3
    await opened(database, report("s1", RunnerReport(local_key="gpu", ahead_slots=50)))
    assert await slots() == 9
    await opened(database, report("s1", RunnerReport(local_key="gpu", ahead_slots=0)))
    assert await slots() == 1


async def test_lists_are_found_by_jumps_and_ordered_by_priority_then_age(database: Database) -> None:
    old, young, urgent, other = new_run(age=9), new_run(age=1), new_run(priority=7), new_run("u")
    await waiting(database, young, old, urgent, other)
    lists = await database.read(lambda session: waiting_lists(session, most=10))
    assert lists == [(NEEDS.class_id, "t"), (NEEDS.class_id, "u")]
    first = await database.read(lambda session: heads(session, NEEDS.class_id, "t", most=2))
    assert [one.run_id for one in first] == [urgent.id, old.id]


async def test_no_run_waits_at_a_runner_while_another_is_idle(database: Database) -> None:
    one, two = (RunnerReport(local_key=name, ahead_slots=2) for name in ("one", "two"))
    await opened(database, report("s1", one, two))
    await waiting(database, new_run(), new_run())
    both = [runner.runner_id for runner in (await database.read(lambda session: read_board(session, now=NOW))).runners]

    def choose(runs: Sequence[WaitingRun], runners: Sequence[OpenRunner]) -> list[Placement]:
        return place(runs, runners, eligible=lambda *_: both, predict=lambda _: SECOND / 200, most=len(runs))

    def unit(session: Session) -> list[str | None]:
        lists, tally = waiting_lists(session, most=5), Tally()
        made = fill(session, tally, both[:1], lambda _: lists, choose, idle=both[1:], now=NOW)
        tally.write(session)
        return [assignment.run.runner_id for assignment in made]

    assert sorted(map(str, await database.write(unit))) == sorted(both)


async def test_two_matchers_at_once_never_assign_a_run_or_a_slot_twice(database: Database, garage: str) -> None:
    runs = [new_run(age=number) for number in range(3)]
    await waiting(database, *runs)
    made = await database.read(placements)
    assert len(made) == 3
    shifted = [replace(one, slot=two.slot) for one, two in zip(made, reversed(made), strict=True)]
    both = await asyncio.gather(
        database.write(lambda session: write_placements(session, made, now=NOW)),
        database.write(lambda session: write_placements(session, shifted, now=NOW)),
    )
    assert sum(len(one) for one in both) == 3
    held = await database.read(lambda session: read_holding(session, garage, catalogues=False, now=NOW))
    assert sorted(one.run_id for one in held.executions) == sorted(run.id for run in runs)
    assert {(await stored(database, run.id)).attempt for run in runs} == {1}
    assert await share(database) == (0, 3, 3.0)


async def test_the_version_grows_with_every_change_of_executions(database: Database, garage: str) -> None:
    async def version() -> int:
        return (await database.read(lambda s: read_holding(s, garage, catalogues=False, now=NOW))).version

    run = new_run()
    before = await version()
    await dispatched(database, run)
    assert await version() > before
    before = await version()
    assert await end(database, run.id, Outcome.SUCCEEDED, output(0))
    assert await version() > before


async def test_an_end_writes_what_a_short_run_never_reported(database: Database, garage: str) -> None:
    run = new_run()
    await dispatched(database, run)
    assert await end(database, run.id, Outcome.SUCCEEDED, output(0), output(1))
    events = await database.read(lambda session: events_after(session, run.id, 0))
    assert [one.sequence for one in events] == list(range(1, 8))
    assert [one.body.get("state") or one.body.get("name") for one in events] == [
        "QUEUED",
        None,
        "DISPATCHED",
        "RUNNING",
        "a.png",
        "a-2.png",
        "SUCCEEDED",
    ]
    ended = await stored(database, run.id)
    assert (ended.state, ended.sequence) == (RunState.SUCCEEDED, 7)
    assert ended.started_at is not None
    assert await share(database) == (0, 0, 1.0)


async def test_a_run_ends_once(database: Database, garage: str) -> None:
    run = new_run()
    await dispatched(database, run)
    ends = await asyncio.gather(*(end(database, run.id, Outcome.SUCCEEDED, output(0)) for _ in range(5)))
    assert ends.count(True) == 1
    assert (await stored(database, run.id)).sequence == 6


async def test_outputs_reported_twice_are_recorded_once(database: Database, garage: str) -> None:
    run = new_run()
    await dispatched(database, run)

    def begin(session: Session) -> int:
        current = current_attempt(session, run.id)
        assert current is not None
        made = record_begun(session, current, elapsed=SECOND, outputs=[output(0)], now=NOW)
        return len(made.events) if made is not None else 0

    assert await database.write(begin) == 2
    assert await database.write(begin) == 0
    await end(database, run.id, Outcome.SUCCEEDED, output(0), output(1))
    names = [
        one.body["name"]
        for one in await database.read(lambda session: events_after(session, run.id, 0))
        if "name" in one.body
    ]
    assert names == ["a.png", "a-2.png"]


async def test_a_free_end_costs_the_team_nothing(database: Database, garage: str) -> None:
    run = new_run()
    await dispatched(database, run)
    await end(database, run.id, Outcome.RECALLED)
    assert await share(database) == (1, 0, 0.0)
    again = await stored(database, run.id)
    assert (again.state, again.attempt, again.blamed_attempts) == (RunState.QUEUED, 1, 0)


async def test_only_the_current_attempt_and_epoch_may_report(database: Database, garage: str) -> None:
    run = new_run()
    await dispatched(database, run)
    runner_id = (await stored(database, run.id)).runner_id or ""

    async def counts(**other: object) -> bool:
        said = {"dispatcher_id": garage, "run_id": run.id, "attempt": 1, "runner_id": runner_id, "epoch": 1, **other}
        found = await database.read(lambda session: reported_attempt(session, **said))  # type: ignore[arg-type]
        return found is not None

    assert await counts()
    assert not await counts(attempt=2)
    assert not await counts(epoch=0)
    assert not await counts(runner_id="other")
    assert not await counts(dispatcher_id="other")
    await opened(database, report("s2"))
    assert not await counts()
    assert await counts(epoch=2)


async def test_a_lapse_keeps_the_attempt_and_a_late_report_counts_until_the_next(
    database: Database, garage: str
) -> None:
    run = new_run()
    await dispatched(database, run)
    later = NOW + 2 * LEASE
    assert await database.read(lambda session: lapsed_dispatchers(session, now=later)) == [garage]
    assert len(await database.write(lambda session: lapse_dispatcher(session, garage, now=later))) == 1
    assert not await database.write(lambda session: lapse_dispatcher(session, garage, now=later))
    waits = await stored(database, run.id)
    assert (waits.state, waits.attempt) == (RunState.QUEUED, 1)
    runner_id = waits.runner_id or ""

    def late(session: Session) -> bool:
        found = reported_attempt(session, dispatcher_id=garage, run_id=run.id, attempt=1, runner_id=runner_id, epoch=1)
        return found is not None and found.lapsed

    assert await database.read(late)
    await opened(database, report("s1"), now=later)
    made = await database.read(lambda session: placements(session, now=later))
    await database.write(lambda session: write_placements(session, made, now=later))
    assert not await database.read(late)
    assert (await stored(database, run.id)).attempt == 2


async def test_a_lapsed_execution_that_is_found_again_goes_on(database: Database, garage: str) -> None:
    run = new_run()
    await dispatched(database, run)

    def begin(session: Session) -> None:
        current = current_attempt(session, run.id)
        assert current is not None
        record_begun(session, current, elapsed=SECOND, outputs=[], now=NOW)

    await database.write(begin)
    later = NOW + 2 * LEASE
    await database.write(lambda session: lapse_dispatcher(session, garage, now=later))
    assert (await stored(database, run.id)).blamed_attempts == 1
    await opened(database, report("s1"), now=later)
    runner_id = (await stored(database, run.id)).runner_id or ""

    def found_again(session: Session) -> None:
        current = reported_attempt(
            session, dispatcher_id=garage, run_id=run.id, attempt=1, runner_id=runner_id, epoch=1
        )
        assert current is not None
        tally = Tally()
        assert record_found_again(session, tally, current, elapsed=SECOND, now=later) is not None
        tally.write(session)

    await database.write(found_again)
    goes_on = await stored(database, run.id)
    assert (goes_on.state, goes_on.attempt, goes_on.blamed_attempts) == (RunState.RUNNING, 1, 0)
    held = await database.read(lambda session: read_holding(session, garage, catalogues=False, now=later))
    assert [(one.run_id, one.epoch) for one in held.executions] == [(run.id, 2)]
    assert await end(database, run.id, Outcome.SUCCEEDED)


async def test_leases_are_extended_after_an_outage(database: Database, garage: str) -> None:
    later = NOW + 2 * LEASE
    await database.write(lambda session: extend_leases(session, until=later + LEASE))
    assert not await database.read(lambda session: lapsed_dispatchers(session, now=later))


async def test_a_run_that_executes_too_long_is_found(database: Database, garage: str) -> None:
    run = new_run()
    await dispatched(database, run)

    def begin(session: Session) -> None:
        current = current_attempt(session, run.id)
        assert current is not None
        record_begun(session, current, elapsed=SECOND, outputs=[], now=NOW)

    await database.write(begin)
    hour = NOW + timedelta(hours=1)
    assert not await database.read(lambda session: overrun(session, now=hour, grace=SECOND * 10))
    assert await database.read(lambda session: overrun(session, now=hour + SECOND * 10, grace=SECOND * 10)) == [run.id]


async def test_specs_are_read_by_run(database: Database) -> None:
    run = new_run()
    await waiting(database, run)
    assert (await database.read(lambda session: read_specs(session, {run.id})))[run.id].graph_json == b"{}"
    assert await database.read(lambda session: read_specs(session, set())) == {}


async def test_catalogues_are_seen_by_teams_that_their_runners_serve(database: Database) -> None:
    owner = Owner(team_id="t", credential_id="ak")
    said = report("s1", RunnerReport(local_key="gpu", capabilities_hash="c" * 64))
    garage = (await opened(database, said, owner=owner)).dispatcher_id
    wanted = await database.read(lambda session: read_holding(session, garage, catalogues=True, now=NOW))
    assert wanted.wanted_catalogues == ("c" * 64,)
    assert await database.read(lambda session: may_upload(session, owner, "c" * 64))
    assert not await database.read(lambda session: may_upload(session, OWNER, "c" * 64))
    for _ in range(2):
        await database.write(
            lambda session: insert_catalogue(
                session, "c" * 64, b"packed", node_classes=["A"], model_names=[], owner=owner, now=NOW
            )
        )
    assert await database.read(lambda session: catalogue_body(session, "c" * 64, team_id="t")) == b"packed"
    assert await database.read(lambda session: catalogue_body(session, "c" * 64, team_id="u")) is None
    assert len(await database.read(lambda s: list_runners(s, team_id="t", after="", limit=9))) == 1
    assert not await database.read(lambda s: list_runners(s, team_id="u", after="", limit=9))


async def test_a_fleet_runner_shows_a_team_its_own_runs_alone(database: Database, garage: str) -> None:
    run = new_run()
    await dispatched(database, run)
    mine = await database.read(lambda session: list_runners(session, team_id="t", after="", limit=9))
    others = await database.read(lambda session: list_runners(session, team_id="u", after="", limit=9))
    assert (mine[0].run_ids, others[0].run_ids) == ((run.id,), ())


async def test_attempts_remember_how_they_ended(database: Database, garage: str) -> None:
    run = new_run()
    await dispatched(database, run)
    await end(database, run.id, Outcome.SUCCEEDED)

    def unit(session: Session) -> tuple[str, int, datetime]:
        row = session.connection().execute(select(RUN_ATTEMPT)).one()
        return row.outcome, row.execution_ms, row.ended_at

    assert await database.read(unit) == ("SUCCEEDED", 1000, NOW)
