"""Facts for other rooms that are committed and not published: the event log itself, and what belongs to no run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlmodel import Session

from services.common.sql import Prepared
from services.run.model.event import EventType, LoggedEvent
from services.run.store.tables import ROOM_EVENT, RUN, RUN_EVENT

_RUN_FACTS = Prepared(
    select(
        RUN_EVENT,
        RUN.c.team_id,
        RUN.c.workflow_id,
        RUN.c.workflow_version,
        RUN.c.input_file_ids,
        RUN.c.delete_inputs_at_end,
        RUN.c.request_id,
    )
    .join(RUN, RUN.c.id == RUN_EVENT.c.run_id)
    .where(RUN_EVENT.c.published_at.is_(None))
    .order_by(RUN_EVENT.c.at, RUN_EVENT.c.run_id, RUN_EVENT.c.sequence)
    .limit(bindparam("most"))
)
_ROOM_FACTS = Prepared(
    select(ROOM_EVENT)
    .where(ROOM_EVENT.c.published_at.is_(None))
    .order_by(ROOM_EVENT.c.at, ROOM_EVENT.c.id)
    .limit(bindparam("most"))
)
_MARK_RUN = Prepared(
    update(RUN_EVENT)
    .where(RUN_EVENT.c.run_id == bindparam("of_run"), RUN_EVENT.c.sequence == bindparam("number"))
    .values(published_at=bindparam("moment"))
)
_MARK_ROOM = Prepared(
    update(ROOM_EVENT).where(ROOM_EVENT.c.id == bindparam("event")).values(published_at=bindparam("moment"))
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFact:
    """A logged event that other rooms are told of, with what they need of its run."""

    event: LoggedEvent
    team_id: str
    workflow_id: str | None
    workflow_version: int
    input_file_ids: tuple[str, ...]
    delete_inputs_at_end: bool
    request_id: str

    @property
    def id(self) -> str:
        """The same at each publishing."""
        return f"{self.event.run_id}.{self.event.sequence}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RoomFact:
    """A fact that belongs to no run."""

    id: str
    team_id: str | None
    type: str
    body: Mapping[str, Any]
    at: datetime


def unpublished_facts(session: Session, *, limit: int) -> list[RunFact | RoomFact]:
    """The oldest facts that wait, at most `limit`."""
    facts: list[RunFact | RoomFact] = [
        RoomFact(id=row.id, team_id=row.team_id, type=row.type, body=row.body, at=row.at)
        for row in _ROOM_FACTS.all(session, {"most": limit})
    ]
    for row in _RUN_FACTS.all(session, {"most": limit - len(facts)}) if len(facts) < limit else ():
        event = LoggedEvent(
            run_id=row.run_id,
            sequence=row.sequence,
            type=EventType(row.type),
            attempt=row.attempt,
            body=row.body,
            at=row.at,
        )
        facts.append(
            RunFact(
                event=event,
                team_id=row.team_id,
                workflow_id=row.workflow_id,
                workflow_version=row.workflow_version,
                input_file_ids=tuple(row.input_file_ids),
                delete_inputs_at_end=row.delete_inputs_at_end,
                request_id=row.request_id,
            )
        )
    return facts


def mark_published(session: Session, ids: Sequence[str], *, now: datetime) -> None:
    """These facts (`RunFact.id`, `RoomFact.id`) were published."""
    of_runs = [fact_id.rpartition(".") for fact_id in ids if "." in fact_id]
    of_room = [fact_id for fact_id in ids if "." not in fact_id]
    if of_runs:
        rows = [{"of_run": run_id, "number": int(number), "moment": now} for run_id, _, number in of_runs]
        _MARK_RUN.run_each(session, rows)
    if of_room:
        _MARK_ROOM.run_each(session, [{"event": fact_id, "moment": now} for fact_id in of_room])
