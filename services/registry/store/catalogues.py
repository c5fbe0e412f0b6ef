"""Copies of node catalogues."""

import gzip
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from services.common.sql import Database
from services.registry.store.tables import CATALOGUE

MOST = 100
"""The oldest copies beyond this go: they can be read again from the run room."""


class CatalogueStore:
    """Catalogues by their hash; one never changes."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def body(self, hash_: str) -> bytes | None:
        """Its JSON, None if there is no copy."""
        statement = select(CATALOGUE.c.body).where(CATALOGUE.c.hash == hash_)
        packed = await self._database.read(lambda session: session.connection().execute(statement).scalar_one_or_none())
        return None if packed is None else gzip.decompress(packed)

    async def add(self, hash_: str, body: bytes, *, now: datetime) -> None:
        """Keep a copy; nothing happens if there is one."""
        packed = gzip.compress(body, compresslevel=6, mtime=0)
        oldest = select(CATALOGUE.c.hash).order_by(CATALOGUE.c.create_time.desc(), CATALOGUE.c.hash).offset(MOST)

        def unit(session: Session) -> None:
            connection = session.connection()
            if connection.execute(select(CATALOGUE.c.hash).where(CATALOGUE.c.hash == hash_)).first() is not None:
                return
            connection.execute(insert(CATALOGUE).values(hash=hash_, body=packed, create_time=now))
            surplus = list(connection.execute(oldest).scalars())
            if surplus:
                connection.execute(delete(CATALOGUE).where(CATALOGUE.c.hash.in_(surplus)))

        try:
            await self._database.write(unit)
        except IntegrityError:  # another replica was faster
            return
