"""T1: one transaction makes a run durable and, if a runner is free, gives it away (EXECUTION D)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import Session

from services.common.errors import AlreadyExists, FailedPrecondition
from services.common.sql import Prepared
from services.run.model.assignment import Assignment
from services.run.model.event import LoggedEvent, state_changed
from services.run.model.prepared_run import PreparedRun
from services.run.model.requirements import Requirements
from services.run.model.run import Run, RunSnapshot
from services.run.model.state import RunState
from services.run.store.assignment import class_of
from services.run.store.events import append_events
from services.run.store.runs import insert_run, snapshot_of
from services.run.store.tables import IDEMPOTENCY

_INSERTS = {
    dialect: Prepared(insert(IDEMPOTENCY).on_conflict_do_nothing().returning(IDEMPOTENCY.c.run_id))
    for dialect, insert in (("sqlite", sqlite_insert), ("postgresql", postgresql_insert))
}
_FIND = Prepared(
    select(IDEMPOTENCY.c.request_hash, IDEMPOTENCY.c.run_id).where(
        IDEMPOTENCY.c.team_id == bindparam("of_team"), IDEMPOTENCY.c.request_id == bindparam("of_request")
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Created:
    """What the creating transaction did."""

    snapshot: RunSnapshot
    replayed: bool = False
    """True: the request had been made before; nothing was done."""
    events: tuple[LoggedEvent, ...] = ()
    assignment: Assignment | None = None
    """None: it waits."""


class Placer(Protocol):
    """Who knows which runners there are."""

    def assign_new_run(self, session: Session, run: Run, *, now: datetime) -> Assignment | None:
        """Give a run that was just inserted to a free runner, in this transaction; None: it waits."""
        ...

    def any_runner_could_serve(self, requirements: Requirements, *, team_id: str) -> bool:
        """Whether some attached runner, free or not, could serve such a run of that team."""
        ...


def create_run(session: Session, prepared: PreparedRun, *, placer: Placer, now: datetime) -> Created:
    """Make the run, or find the one that the same request made.

    AlreadyExists REQUEST_ID_REUSED or DUPLICATE_REQUEST; FailedPrecondition NO_RUNNER.
    """
    run = prepared.run
    if prepared.request_hash is not None and not _claim(session, prepared, now):
        found = find_replay(
            session, run.team_id, run.request_id, prepared.request_hash, refuse=prepared.refuse_duplicate
        )
        if found is not None:
            return found
    if prepared.require_runner and not placer.any_runner_could_serve(prepared.requirements, team_id=run.team_id):
        raise FailedPrecondition("No attached runner could serve this run.", reason="NO_RUNNER")
    class_of(session, prepared.requirements, now=now)
    insert_run(session, run, prepared.spec)
    made = state_changed(RunState.QUEUED, previous=None, attempt=0)
    events = append_events(session, run.id, [made], now=now, run=run)
    assignment = placer.assign_new_run(session, run, now=now)
    if assignment is None:
        return Created(snapshot=RunSnapshot(run=run), events=tuple(events))
    return Created(
        snapshot=RunSnapshot(run=assignment.run), events=(*events, *assignment.events), assignment=assignment
    )


def find_replay(
    session: Session, team_id: str, request_id: str, request_hash: bytes, *, refuse: bool
) -> Created | None:
    """The run that this request made; None if none did. AlreadyExists as for `create_run`."""
    parameters = {"of_team": team_id, "of_request": request_id}
    row = _FIND.first(session, parameters)
    if row is None:
        return None
    if row.request_hash != request_hash:
        raise AlreadyExists("Another request had this request_id; choose another.", reason="REQUEST_ID_REUSED")
    if refuse:
        raise AlreadyExists(
            "This request was made before.", reason="DUPLICATE_REQUEST", metadata={"run_id": row.run_id}
        )
    snapshot = snapshot_of(session, row.run_id, team_id=team_id)
    if snapshot is None:
        raise AlreadyExists("The run that this request made is gone; choose another.", reason="RUN_DELETED")
    return Created(snapshot=snapshot, replayed=True)


def forget_requests(session: Session, *, before: datetime, limit: int = 200) -> int:
    """Delete the oldest requests made before a time, at most `limit`; how many there were."""
    oldest = (
        select(IDEMPOTENCY.c.team_id, IDEMPOTENCY.c.request_id)
        .where(IDEMPOTENCY.c.create_time < before)
        .order_by(IDEMPOTENCY.c.create_time)
        .limit(limit)
    )
    keys = session.connection().execute(oldest).all()
    one = delete(IDEMPOTENCY).where(
        IDEMPOTENCY.c.team_id == bindparam("of_team"), IDEMPOTENCY.c.request_id == bindparam("of_request")
    )
    if keys:
        parameters = [{"of_team": key.team_id, "of_request": key.request_id} for key in keys]
        session.connection().execute(one, parameters)
    return len(keys)


def _claim(session: Session, prepared: PreparedRun, now: datetime) -> bool:
    """Take the request id for this run; False if it is taken. Waits for whoever takes it at the same moment."""
    row = {
        "team_id": prepared.run.team_id,
        "request_id": prepared.run.request_id,
        "request_hash": prepared.request_hash,
        "run_id": prepared.run.id,
        "create_time": now,
    }
    statement = _INSERTS[session.get_bind().dialect.name]
    return statement.first(session, row) is not None
