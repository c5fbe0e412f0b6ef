"""Facts that are to be published."""

from collections.abc import Sequence

from sqlalchemy import delete, insert, select
from sqlmodel import Session

from services.common.ids import Ids
from services.common.sql import Database
from services.registry.model.fact import Fact, FactType, Occasion
from services.registry.store.tables import FACT


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

        return await self._database.read(unit)

    async def remove(self, ids: Sequence[str]) -> None:
        """They are published."""
        await self._database.write(lambda session: session.connection().execute(delete(FACT).where(FACT.c.id.in_(ids))))


def add_fact(
    session: Session, type_: FactType, *, ids: Ids, team_id: str, workflow_id: str, slug: str, version: int = 0,
    occasion: Occasion,
) -> None:  # fmt: skip
    """Write a fact in the transaction that makes it true."""
    session.connection().execute(
        insert(FACT).values(
            id=ids.new_id(),
            type=type_.value,
            time=occasion.time,
            team_id=team_id,
            workflow_id=workflow_id,
            slug=slug,
            version=version,
            request_id=occasion.request_id,
        )
    )
