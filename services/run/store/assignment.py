"""A run gets a place at a runner: guarded, so that two who try at once cost time and never a double assignment."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, insert, literal_column, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import Session

from services.common.sql import Prepared
from services.run.model.assignment import Assignment
from services.run.model.desire import UNKNOWN_WORK
from services.run.model.event import attempt_started, state_changed
from services.run.model.placement import OpenRunner, Placement, WaitingRun, work_key
from services.run.model.requirements import Requirements
from services.run.model.run import Run
from services.run.model.state import RunState
from services.run.store.events import append_events
from services.run.store.tables import CLASS, DISPATCHER, RUN, RUN_ATTEMPT, RUNNER, RUNNER_SLOT
from services.run.store.tally import Tally
from services.run.store.transition import transition

# As text, not as a parameter: only so may the planner use the partial index.
IS_QUEUED = RUN.c.state == literal_column("'QUEUED'")

_TAKE_SLOT = Prepared(
    update(RUNNER_SLOT)
    .where(
        RUNNER_SLOT.c.runner_id == bindparam("at_runner"),
        RUNNER_SLOT.c.slot == bindparam("at_slot"),
        RUNNER_SLOT.c.run_id.is_(None),
    )
    .values(run_id=bindparam("given"), attempt=bindparam("number"), assigned_at=bindparam("moment"), recalled=False)
)
_HOLD_RUN = Prepared(
    select(RUN.c.id)
    .where(
        RUN.c.id == bindparam("given"),
        RUN.c.state == RunState.QUEUED.value,
        RUN.c.attempt == bindparam("last_attempt"),
    )
    .with_for_update()
)
FREE_SLOT = Prepared(
    update(RUNNER_SLOT)
    .where(RUNNER_SLOT.c.run_id == bindparam("held"))
    .values(run_id=None, assigned_at=None, recalled=False)
)
_INSERT_ATTEMPT = Prepared(insert(RUN_ATTEMPT))
_HEADS = Prepared(
    select(
        RUN.c.id,
        RUN.c.attempt,
        RUN.c.class_id,
        RUN.c.team_id,
        RUN.c.priority,
        RUN.c.queued_at,
        RUN.c.workflow_id,
        RUN.c.workflow_version,
    )
    .where(IS_QUEUED, RUN.c.class_id == bindparam("of_class"), RUN.c.team_id == bindparam("of_team"))
    .order_by(RUN.c.precedence, RUN.c.queued_at)
    .limit(bindparam("most"))
)
_NEXT_LIST = Prepared(
    select(RUN.c.class_id, RUN.c.team_id)
    .where(
        IS_QUEUED,
        tuple_(RUN.c.class_id, RUN.c.team_id) > tuple_(bindparam("after_class"), bindparam("after_team")),
    )
    .order_by(RUN.c.class_id, RUN.c.team_id)
    .limit(1)
)
_OTHERS_WAIT = Prepared(
    select(RUN.c.id).where(IS_QUEUED, RUN.c.class_id == bindparam("of_class"), RUN.c.id != bindparam("but")).limit(1)
)
_INSERT_CLASS = {
    dialect: Prepared(insert_class(CLASS).on_conflict_do_nothing())
    for dialect, insert_class in (("sqlite", sqlite_insert), ("postgresql", postgres_insert))
}
OPEN = (
    RUNNER.c.ready,
    RUNNER.c.enabled,
    ~RUNNER.c.draining,
    ~DISPATCHER.c.draining,
    DISPATCHER.c.replica != "",
    DISPATCHER.c.lease_expires_at > bindparam("moment"),
)
"""What makes a runner one that may be given work now."""
_SLOTS = (
    select(
        RUNNER.c.id,
        RUNNER.c.dispatcher_id,
        RUNNER.c.epoch,
        RUNNER.c.execution_slots,
        RUNNER.c.ahead_slots,
        RUNNER_SLOT.c.slot,
        RUNNER_SLOT.c.run_id,
        RUN_ATTEMPT.c.predicted_ms,
    )
    .join(DISPATCHER, DISPATCHER.c.id == RUNNER.c.dispatcher_id)
    .join(RUNNER_SLOT, RUNNER_SLOT.c.runner_id == RUNNER.c.id)
    .outerjoin(
        RUN_ATTEMPT,
        (RUN_ATTEMPT.c.run_id == RUNNER_SLOT.c.run_id) & (RUN_ATTEMPT.c.attempt == RUNNER_SLOT.c.attempt),
    )
    .where(*OPEN)
    .order_by(RUNNER.c.id, RUNNER_SLOT.c.slot)
)
_ALL_SLOTS = Prepared(_SLOTS)
_SLOTS_OF = Prepared(_SLOTS.where(RUNNER.c.id == bindparam("of_runner")))

Predict = Callable[[str], timedelta | None]


def class_of(session: Session, requirements: Requirements, *, now: datetime) -> str:
    """The class of these requirements, whose row is written if it is new."""
    class_id = requirements.class_id
    values = {"id": class_id, "requirements": requirements.to_json(), "create_time": now}
    _INSERT_CLASS[session.get_bind().dialect.name].run(session, values)
    return class_id


def assign(session: Session, tally: Tally, placement: Placement, *, now: datetime) -> Assignment | None:
    """Give the run its place; None if the place or the run is taken, and then nothing was changed."""
    run, attempt = placement.run, placement.run.attempt + 1
    # The run first, and held: no other transaction can put it into another slot meanwhile.
    if _HOLD_RUN.first(session, {"given": run.run_id, "last_attempt": run.attempt}) is None:
        return None
    place = {"at_runner": placement.runner_id, "at_slot": placement.slot}
    if _TAKE_SLOT.run(session, place | {"given": run.run_id, "number": attempt, "moment": now}) != 1:
        return None
    dispatched = transition(
        session,
        run.run_id,
        from_states=(RunState.QUEUED,),
        to=RunState.DISPATCHED,
        now=now,
        attempt=run.attempt,
        values={"attempt": attempt, "runner_id": placement.runner_id, "dispatched_at": now, "started_at": None},
        events=2,
    )
    assert dispatched is not None  # it is held
    predicted = placement.predicted
    _INSERT_ATTEMPT.run(
        session,
        {
            "run_id": run.run_id,
            "attempt": attempt,
            "runner_id": placement.runner_id,
            "epoch": placement.epoch,
            "assigned_at": now,
            "submitted_at": None,
            "started_at": None,
            "ended_at": None,
            "outcome": None,
            "error": None,
            "execution_ms": None,
            "predicted_ms": None if predicted is None else round(predicted.total_seconds() * 1000),
        },
    )
    news = [
        attempt_started(attempt, runner_id=placement.runner_id),
        state_changed(RunState.DISPATCHED, previous=RunState.QUEUED, attempt=attempt),
    ]
    events = append_events(session, run.run_id, news, now=now, run=dispatched)
    tally.share(run.team_id, queued=-1, active=1, charge=UNKNOWN_WORK if predicted is None else predicted)
    tally.touch(placement.dispatcher_id)
    return Assignment(run=dispatched, events=events, dispatcher_id=placement.dispatcher_id)


def release_queued(session: Session, run: Run) -> None:
    """The run waits no more, without having been given to a runner."""
    tally = Tally()
    tally.share(run.team_id, queued=-1)
    tally.write(session)


def others_wait(session: Session, run_id: str, class_id: str) -> bool:
    """Whether the class has a queue beside this run."""
    return _OTHERS_WAIT.first(session, {"of_class": class_id, "but": run_id}) is not None


def waiting_lists(session: Session, *, most: int) -> list[tuple[str, str]]:
    """The (class, team) lists that are not empty, by jumps along the index, whatever their lengths."""
    lists: list[tuple[str, str]] = []
    last = ("", "")
    while len(lists) < most:
        values = {"after_class": last[0], "after_team": last[1]}
        row = _NEXT_LIST.first(session, values)
        if row is None:
            break
        last = (row.class_id, row.team_id)
        lists.append(last)
    return lists


def heads(session: Session, class_id: str, team_id: str, *, most: int) -> list[WaitingRun]:
    """The first runs of a list, in their order."""
    rows = _HEADS.all(session, {"of_class": class_id, "of_team": team_id, "most": most})
    return [
        WaitingRun(
            run_id=row.id,
            attempt=row.attempt,
            class_id=row.class_id,
            team_id=row.team_id,
            priority=row.priority,
            queued_at=row.queued_at,
            work_key=work_key(row.workflow_id, row.workflow_version, row.class_id),
        )
        for row in rows
    ]


def open_runners(session: Session, *, now: datetime, runner_ids: Sequence[str] | None = None) -> list[OpenRunner]:
    """The runners that may be given work (of `runner_ids`, if given), with what they have."""
    if runner_ids is None:
        rows = _ALL_SLOTS.all(session, {"moment": now})
    else:
        wanted = sorted(set(runner_ids))
        rows = [row for one in wanted for row in _SLOTS_OF.all(session, {"moment": now, "of_runner": one})]
    runners: dict[str, OpenRunner] = {}
    for row in rows:
        runner = runners.get(row.id) or OpenRunner(
            runner_id=row.id,
            dispatcher_id=row.dispatcher_id,
            epoch=row.epoch,
            execution_slots=row.execution_slots,
            ahead_slots=row.ahead_slots,
            free_slots=(),
            busy=0,
            work=timedelta(),
        )
        is_free = row.run_id is None
        predicted = UNKNOWN_WORK if row.predicted_ms is None else timedelta(milliseconds=row.predicted_ms)
        runners[row.id] = OpenRunner(
            runner_id=row.id,
            dispatcher_id=row.dispatcher_id,
            epoch=row.epoch,
            execution_slots=row.execution_slots,
            ahead_slots=row.ahead_slots,
            free_slots=(*runner.free_slots, row.slot) if is_free else runner.free_slots,
            busy=runner.busy + (not is_free),
            work=runner.work + (timedelta() if is_free else predicted),
        )
    return list(runners.values())
