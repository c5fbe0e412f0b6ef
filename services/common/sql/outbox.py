"""An outbox table for rooms whose own event log is not one."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Column, Index, LargeBinary, MetaData, String, Table, delete, insert, select, text, update
from sqlmodel import Session

from services.common.outbox_event import OutboxEvent
from services.common.sql.columns import UtcDateTime
from services.common.sql.database import Database


def outbox_table(metadata: MetaData) -> Table:
    """The table `outbox` of a room, under a partial index over what is not published yet."""
    waiting = text("published_at IS NULL")
    return Table(
        "outbox",
        metadata,
        Column("id", String(36), primary_key=True),
        Column("subject", String(255), nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("request_id", String(128)),
        Column("published_at", UtcDateTime()),
        Index("ix_outbox_waiting", "id", sqlite_where=waiting, postgresql_where=waiting),
    )


class SqlOutbox:
    """An `Outbox` over `outbox_table`."""

    def __init__(self, *, database: Database, table: Table) -> None:
        self._database = database
        self._table = table

    def add(self, session: Session, event: OutboxEvent) -> None:
        """Keep `event` in the unit of work that makes it true."""
        session.connection().execute(
            insert(self._table),
            {"id": event.id, "subject": event.subject, "body": event.body, "request_id": event.request_id},
        )

    async def unpublished(self, limit: int) -> Sequence[OutboxEvent]:
        columns = self._table.c
        statement = (
            select(columns.id, columns.subject, columns.body, columns.request_id)
            .where(columns.published_at.is_(None))
            .order_by(columns.id)
            .limit(limit)
        )

        def read(session: Session) -> list[OutboxEvent]:
            rows = session.connection().execute(statement)
            return [
                OutboxEvent(id=row.id, subject=row.subject, body=row.body, request_id=row.request_id) for row in rows
            ]

        return await self._database.read(read)

    async def mark_published(self, ids: Sequence[str]) -> None:
        statement = update(self._table).where(self._table.c.id.in_(ids)).values(published_at=datetime.now(UTC))
        await self._database.write(lambda session: _execute(session, statement))

    async def sweep(self, before: datetime) -> None:
        """Delete facts that were published before then."""
        statement = delete(self._table).where(self._table.c.published_at < before)
        await self._database.write(lambda session: _execute(session, statement))


def _execute(session: Session, statement: object) -> None:
    session.connection().execute(statement)  # type: ignore[call-overload]  # an update or a delete
