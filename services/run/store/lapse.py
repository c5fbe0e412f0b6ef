"""The slow truths: leases that are over, executions nobody confirms, times that have passed (EXECUTION A4, A5)."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update
from sqlmodel import Session

from services.run.model.decision import decide
from services.run.model.report import Finish, Outcome
from services.run.model.runner import RunnerHealth
from services.run.model.state import RunState
from services.run.store.attempt import current_attempt
from services.run.store.fleet import RUNNER_CHANGED, add_room_event
from services.run.store.outcome import Recorded, record_end
from services.run.store.tables import DISPATCHER, RUN, RUNNER, RUNNER_SLOT
from services.run.store.tally import Tally

_LAPSED = (
    select(DISPATCHER.c.id)
    .where(DISPATCHER.c.session_id != "", DISPATCHER.c.lease_expires_at <= bindparam("moment"))
    .order_by(DISPATCHER.c.lease_expires_at)
    .limit(bindparam("most"))
)
_HELD = (
    select(RUNNER_SLOT.c.run_id)
    .join(RUNNER, RUNNER.c.id == RUNNER_SLOT.c.runner_id)
    .where(RUNNER.c.dispatcher_id == bindparam("dispatcher"), RUNNER_SLOT.c.run_id.is_not(None))
)
_EXECUTING = (
    select(RUN.c.id, RUN.c.started_at, RUN.c.timeout_ms)
    .select_from(RUNNER_SLOT)
    .join(RUN, RUN.c.id == RUNNER_SLOT.c.run_id)
    .where(RUN.c.state == RunState.RUNNING.value, RUN.c.started_at.is_not(None))
)


def extend_leases(session: Session, *, until: datetime) -> None:
    """Let no lease end before `until`: after an outage nobody is to blame for its silence."""
    late = (DISPATCHER.c.session_id != "", DISPATCHER.c.lease_expires_at < until)
    session.connection().execute(update(DISPATCHER).where(*late).values(lease_expires_at=until))


def lapsed_dispatchers(session: Session, *, now: datetime, limit: int = 20) -> list[str]:
    """Dispatchers whose lease is over."""
    return list(session.connection().execute(_LAPSED, {"moment": now, "most": limit}).scalars())


def lapse_dispatcher(session: Session, dispatcher_id: str, *, now: datetime) -> list[Recorded]:
    """Take the dispatcher's runners from it: their runs wait again, keeping their attempts."""
    connection = session.connection()
    over = (DISPATCHER.c.id == dispatcher_id, DISPATCHER.c.session_id != "", DISPATCHER.c.lease_expires_at <= now)
    # Without a session: whoever comes next is granted the runners anew.
    if connection.execute(update(DISPATCHER).where(*over).values(session_id="", replica="")).rowcount != 1:
        return []
    gone = {"health": RunnerHealth.OFFLINE.value, "health_reason": "Its dispatcher is not heard of.", "ready": False}
    away = (RUNNER.c.dispatcher_id == dispatcher_id, RUNNER.c.health != RunnerHealth.OFFLINE.value)
    lost = connection.execute(
        update(RUNNER).where(*away).values(gone).returning(RUNNER.c.id, RUNNER.c.team_id, RUNNER.c.capabilities_hash)
    ).all()
    for runner_id, team_id, hash_ in lost:
        body = {"runner_id": runner_id, "catalogue_hash": hash_}
        add_room_event(session, RUNNER_CHANGED, body, team_id=team_id, now=now)
    run_ids = list(connection.execute(_HELD, {"dispatcher": dispatcher_id}).scalars())
    return end_from_outside(session, run_ids, Outcome.LAPSED, now=now)


def overrun(session: Session, *, now: datetime, grace: timedelta) -> list[str]:
    """Runs that execute longer than they may, and whose dispatcher has not said so within `grace`."""
    rows = session.connection().execute(_EXECUTING)
    return [row.id for row in rows if row.started_at + timedelta(milliseconds=row.timeout_ms) + grace <= now]


def end_from_outside(session: Session, run_ids: Sequence[str], outcome: Outcome, *, now: datetime) -> list[Recorded]:
    """End the attempts of these runs by the room's own judgement: LAPSED or TIMED_OUT."""
    tally, finish = Tally(), Finish(outcome=outcome)
    recorded: list[Recorded] = []
    for run_id in run_ids:
        current = current_attempt(session, run_id)
        if current is None:
            continue
        ended = record_end(session, tally, current, decide(current.budget, finish), finish, now=now)
        if ended is not None:
            recorded.append(ended)
    tally.write(session)
    return recorded
