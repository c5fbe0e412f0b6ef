"""Facts that are to be published."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlmodel import Session

from services.common.sql import Database
from services.file.model.fact import Fact, FactType
from services.file.store.tables import FACT


class FactStore:
    """Facts leave this table once they are published: the stream keeps them, and nobody reads them here again."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def unpublished(self, limit: int) -> list[Fact]:
        """The oldest of them."""
        statement = select(FACT).order_by(FACT.c.id).limit(limit)

        def unit(session: Session) -> list[Fact]:
            rows = session.connection().execute(statement).mappings()
            return [Fact(**{**row, "type": FactType(row["type"])}) for row in rows]

        return await self._database.glance(unit)

    async def remove(self, ids: Sequence[str]) -> None:
        """They are published."""
        await self._database.write(lambda session: session.connection().execute(delete(FACT).where(FACT.c.id.in_(ids))))
