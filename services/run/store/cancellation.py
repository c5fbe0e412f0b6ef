"""Units of work that end runs from outside."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, literal_column, select, update
from sqlmodel import Session

from services.run.model.error import QUEUE_TTL_PASSED, RunError
from services.run.model.event import LoggedEvent, cancel_requested, state_changed
from services.run.model.run import Run, RunSnapshot
from services.run.model.state import ACTIVE_STATES, WAITING_STATES, RunState
from services.run.store.assignment import release_queued
from services.run.store.events import append_events
from services.run.store.run_row import run_of
from services.run.store.runs import outputs_of, snapshot_of
from services.run.store.tables import RUN, RUNNER
from services.run.store.tally import Tally
from services.run.store.transition import transition

_FLAG = (
    update(RUN)
    .where(
        RUN.c.id == bindparam("run_id"),
        RUN.c.cancel_requested_at.is_(None),
        RUN.c.state.in_([state.value for state in ACTIVE_STATES]),
    )
    .values(cancel_requested_at=bindparam("moment"), change_time=bindparam("moment"), sequence=RUN.c.sequence + 1)
    .returning(RUN)
)
_DISPATCHER = select(RUNNER.c.dispatcher_id).where(RUNNER.c.id == bindparam("runner"))
_OVERDUE = (
    select(RUN.c.id)
    # As text, not as a parameter: only so may the planner use the partial index.
    .where(RUN.c.state.in_([literal_column("'ACCEPTED'"), literal_column("'QUEUED'")]))
    .where(RUN.c.queue_deadline <= bindparam("moment"))
    .order_by(RUN.c.queue_deadline)
    .limit(bindparam("most"))
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped:
    """A run after somebody wanted it to stop."""

    snapshot: RunSnapshot
    events: tuple[LoggedEvent, ...] = ()
    """Empty: nothing was changed."""
    dispatcher_id: str | None = None
    """Who executes it and is to be told."""


def cancel(session: Session, run_id: str, *, team_id: str, now: datetime) -> Stopped | None:
    """End a waiting run, or flag an executing one; None if the team has no such run."""
    found = snapshot_of(session, run_id, team_id=team_id)
    if found is None:
        return None
    if found.run.state in WAITING_STATES:
        ended = _end(session, found.run, to=RunState.CANCELLED, error=None, now=now)
        if ended is not None:
            return ended
    flagged = session.connection().execute(_FLAG, {"run_id": run_id, "moment": now}).mappings().first()
    if flagged is None:
        # Ended or flagged before, perhaps between the statements above: as it is now.
        return Stopped(snapshot=snapshot_of(session, run_id) or found)
    run = run_of(dict(flagged))
    events = append_events(session, run_id, [cancel_requested(attempt=run.attempt)], now=now, run=run)
    dispatcher_id = session.connection().execute(_DISPATCHER, {"runner": run.runner_id}).scalar()
    if dispatcher_id is not None:
        tally = Tally()
        tally.touch(dispatcher_id)
        tally.write(session)
    outputs = outputs_of(session, run.id, run.attempt)
    snapshot = RunSnapshot(run=run, outputs=outputs, progress=found.progress)
    return Stopped(snapshot=snapshot, events=tuple(events), dispatcher_id=dispatcher_id)


def overdue(session: Session, *, now: datetime, limit: int = 100) -> list[str]:
    """Runs whose time to wait is over, the oldest first."""
    return list(session.connection().execute(_OVERDUE, {"moment": now, "most": limit}).scalars())


def time_out(session: Session, run_id: str, *, now: datetime) -> Stopped | None:
    """End a run whose time to wait is over; None if it does not wait any more."""
    found = snapshot_of(session, run_id)
    if found is None or found.run.queue_deadline is None or found.run.queue_deadline > now:
        return None
    error = RunError(code=QUEUE_TTL_PASSED, message="No runner took the run in its time to wait.", retryable=True)
    return _end(session, found.run, to=RunState.TIMED_OUT, error=error, now=now)


def _end(session: Session, run: Run, *, to: RunState, error: RunError | None, now: datetime) -> Stopped | None:
    """Take a waiting run to its end; None if it does not wait any more."""
    if run.state not in WAITING_STATES:
        return None
    asked = to is RunState.CANCELLED
    news = [cancel_requested(attempt=run.attempt)] if asked else []
    news.append(state_changed(to, previous=run.state, attempt=run.attempt, error=error))
    values = {"error": error.to_json() if error else None}
    ended = transition(
        session,
        run.id,
        from_states=(run.state,),
        to=to,
        now=now,
        values=values | ({"cancel_requested_at": now} if asked else {}),
        events=len(news),
    )
    if ended is None:
        return None
    release_queued(session, ended)
    events = append_events(session, run.id, news, now=now, run=ended)
    outputs = outputs_of(session, run.id, run.attempt)
    return Stopped(snapshot=RunSnapshot(run=ended, outputs=outputs), events=tuple(events))
