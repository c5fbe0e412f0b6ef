"""The event log: numbers without gaps, taken in the transaction that inserts the rows (EXECUTION C1, C2)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlmodel import Session

from services.common.sql import Prepared
from services.run.model.event import EventType, LoggedEvent, NewEvent
from services.run.model.run import Run
from services.run.store.tables import RUN, RUN_EVENT

_INSERT = Prepared(insert(RUN_EVENT))
_TAKE = Prepared(
    update(RUN)
    .where(RUN.c.id == bindparam("for_run"))
    .values(sequence=RUN.c.sequence + bindparam("count"), change_time=bindparam("moment"))
    .returning(RUN.c.sequence)
)
_AFTER = Prepared(
    select(RUN_EVENT)
    .where(RUN_EVENT.c.run_id == bindparam("for_run"), RUN_EVENT.c.sequence > bindparam("after"))
    .order_by(RUN_EVENT.c.sequence)
    .limit(bindparam("most"))
)


def append_events(
    session: Session, run_id: str, events: Sequence[NewEvent], *, now: datetime, run: Run | None = None
) -> list[LoggedEvent]:
    """Log `events` of one run, in their order, and return them with their numbers.

    `run`: the record as `transition(…, events=len(events))`, or the insert of the run, left it: its numbers are
    reserved already and no UPDATE is needed. Without it, they are taken here.
    """
    if not events:
        return []
    if run is not None:
        last = run.sequence
    else:
        parameters = {"for_run": run_id, "count": len(events), "moment": now}
        (last,) = _TAKE.all(session, parameters)[0]
    first = last - len(events) + 1
    logged = [
        LoggedEvent(run_id=run_id, sequence=first + place, type=new.type, attempt=new.attempt, body=new.body, at=now)
        for place, new in enumerate(events)
    ]
    _INSERT.run_each(session, [_row(event) for event in logged])
    return logged


def events_after(session: Session, run_id: str, after: int, *, limit: int = 500) -> list[LoggedEvent]:
    """The run's events whose sequence is above `after`, in order, at most `limit`."""
    rows = _AFTER.all(session, {"for_run": run_id, "after": after, "most": limit})
    return [
        LoggedEvent(
            run_id=row.run_id,
            sequence=row.sequence,
            type=EventType(row.type),
            attempt=row.attempt,
            body=row.body,
            at=row.at,
        )
        for row in rows
    ]


def _row(event: LoggedEvent) -> dict[str, Any]:
    return {
        "run_id": event.run_id,
        "sequence": event.sequence,
        "type": event.type.value,
        "attempt": event.attempt,
        "body": dict(event.body),
        "at": event.at,
        # What is no fact for other rooms never waits for the relay.
        "published_at": None if event.type.is_fact else event.at,
    }
