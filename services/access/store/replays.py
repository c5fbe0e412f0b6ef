"""Remembers creates by their request ids, in the transaction of what they made."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from services.access.model.replay import Replay
from services.access.store.tables import RequestRow
from services.common.errors import AlreadyExists
from services.common.sql import Database

T = TypeVar("T")


def replayed(session: Session, replay: Replay | None) -> str | None:
    """Id of what this request made before; None if it is new, AlreadyExists if it was another request."""
    row = None if replay is None else session.get(RequestRow, (replay.maker, replay.request_id))
    if row is None or replay is None:
        return None
    if row.digest != replay.digest:
        raise AlreadyExists(
            "This request id was used for another request; choose a new one.", reason="REQUEST_ID_TAKEN"
        )
    return row.object_id


def remember(session: Session, replay: Replay | None, object_id: str, at: datetime) -> None:
    """Note what this request made."""
    if replay is not None:
        session.add(
            RequestRow(
                maker=replay.maker,
                request_id=replay.request_id,
                digest=replay.digest,
                object_id=object_id,
                created_at=at,
            )
        )


async def forget_before(database: Database, moment: datetime) -> None:
    """Forget requests answered before then."""
    statement = delete(RequestRow).where(RequestRow.__table__.c.created_at < moment)  # type: ignore[attr-defined]
    await database.write(lambda session: session.connection().execute(statement))


async def write_unique(database: Database, unit: Callable[[Session], T]) -> T:
    """Run a unit that looks before it inserts; once more where another replica inserted in between."""
    try:
        return await database.write(unit)
    except IntegrityError:
        return await database.write(unit)
