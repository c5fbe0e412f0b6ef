"""What prepared statements promise, on SQLite, where the driver is called directly, and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
import pytest_asyncio
from sqlalchemy import JSON, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Field, Session, SQLModel

from services.common.sql import Database, Prepared, TableRegistry, UtcDateTime, open_database
from services.common.sql.address import DatabaseAddress
from services.common.sql.postgres import postgres_engine
from tests.servers.databases import Databases

tables = TableRegistry()


class ThingTable(SQLModel, registry=tables):
    """Tables of this suite."""


class Thing(ThingTable, table=True):
    __tablename__ = "thing"
    id: str = Field(primary_key=True)
    at: datetime | None = Field(sa_type=UtcDateTime)
    body: dict[str, int] | None = Field(sa_type=JSON)
    is_open: bool
    data: bytes


THING = tables.metadata.tables["thing"]
MOMENT = datetime(2026, 11, 21, 12, tzinfo=UTC)
INSERT = Prepared(insert(THING))
BY_ID = Prepared(select(THING).where(THING.c.id == bindparam("of_thing")))
CLOSE = Prepared(
    update(THING)
    .where(THING.c.id == bindparam("of_thing"), THING.c.is_open)
    .values(is_open=False, at=bindparam("moment"), body=None)
    .returning(THING)
)
DELETE = Prepared(delete(THING).where(THING.c.id == bindparam("of_thing")))


@pytest_asyncio.fixture
async def database(databases: Databases) -> AsyncIterator[Database]:
    url = databases.empty("thing")
    address = DatabaseAddress.parse(url, room="public")
    if address.dialect == "postgresql":
        engine = postgres_engine(address)
        async with engine.begin() as connection:
            await connection.run_sync(tables.metadata.create_all)
        await engine.dispose()
    async with open_database(url=url, room="public") as opened:
        if address.dialect == "sqlite":
            await opened.write(lambda session: tables.metadata.create_all(session.connection()))
        yield opened


def thing(key: str, at: datetime | None = MOMENT) -> dict[str, object]:
    return {"id": key, "at": at, "body": {"n": 1}, "is_open": True, "data": b"\x00\xff"}


async def test_values_come_back_as_they_went_in(database: Database) -> None:
    elsewhere = datetime(2026, 11, 21, 17, 0, 0, 7, tzinfo=timezone(timedelta(hours=5)))
    await database.write(lambda session: INSERT.run_each(session, [thing("a", elsewhere), thing("b", None)]))
    for look in (database.read, database.glance):
        first = await look(lambda session: BY_ID.first(session, {"of_thing": "a"}))
        assert first is not None
        assert first._asdict() == thing("a", elsewhere)
        assert first.at.utcoffset() == timedelta()
        (second,) = await look(lambda session: BY_ID.all(session, {"of_thing": "b"}))
        assert second.at is None
        assert await look(lambda session: BY_ID.first(session, {"of_thing": "c"})) is None


async def test_what_sqlalchemy_wrote_is_read_and_the_other_way_round(database: Database) -> None:
    await database.write(lambda session: session.connection().execute(insert(THING), thing("a")) and None)
    await database.write(lambda session: INSERT.run(session, thing("b")))
    found = await database.read(lambda session: BY_ID.first(session, {"of_thing": "a"}))
    assert found is not None
    assert found._asdict() == thing("a")
    rows = await database.read(lambda session: session.connection().execute(select(THING)).mappings().all())
    assert [dict(row) for row in rows] == [thing("a"), thing("b")]


async def test_a_change_tells_what_it_changed(database: Database) -> None:
    assert await database.write(lambda session: INSERT.run(session, thing("a"))) == 1
    values = {"of_thing": "a", "moment": MOMENT + timedelta(seconds=1)}
    closed = await database.write(lambda session: CLOSE.first(session, values))
    assert closed is not None
    assert (closed.is_open, closed.at, closed.body) == (False, MOMENT + timedelta(seconds=1), None)
    assert await database.write(lambda session: CLOSE.first(session, values)) is None
    assert await database.write(lambda session: DELETE.run(session, {"of_thing": "a"})) == 1
    assert await database.write(lambda session: DELETE.run(session, {"of_thing": "a"})) == 0


async def test_a_failing_unit_is_undone_alone(database: Database) -> None:
    def twice(session: Session) -> None:
        INSERT.run(session, thing("b"))
        INSERT.run(session, thing("a"))

    def once(key: str) -> "asyncio.Future[int]":
        return asyncio.ensure_future(database.write(lambda session: INSERT.run(session, thing(key))))

    await once("a")
    failing = asyncio.ensure_future(database.write(twice))
    outcomes = await asyncio.gather(once("c"), failing, once("d"), return_exceptions=True)
    assert (outcomes[0], outcomes[2]) == (1, 1)
    assert isinstance(outcomes[1], IntegrityError)
    found = [await database.read(lambda session, key=key: BY_ID.first(session, {"of_thing": key})) for key in "abcd"]  # type: ignore[misc]
    assert [one is not None for one in found] == [True, False, True, True]


async def test_a_parameter_that_is_not_given_and_a_moment_without_zone_are_mistakes(database: Database) -> None:
    with pytest.raises(Exception, match="of_thing"):
        await database.read(lambda session: BY_ID.first(session, {}))
    with pytest.raises(Exception, match="time zone"):
        await database.write(lambda session: INSERT.run(session, thing("a", MOMENT.replace(tzinfo=None))))
