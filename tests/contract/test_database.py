"""What every `Database` promises, on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import Column, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Field, Session, SQLModel

from services.common.errors import FailedPrecondition
from services.common.sql import Database, EnumText, TableRegistry, UtcDateTime, database_now, open_database
from services.common.sql.address import DatabaseAddress
from services.common.sql.postgres import postgres_engine
from tests.servers.databases import Databases

tables = TableRegistry()


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class SampleTable(SQLModel, registry=tables):
    """Tables of this suite."""


class Sample(SampleTable, table=True):
    __tablename__ = "sample"
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    count: int = 0
    at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    body: bytes | None = None
    colour: Colour | None = Field(default=None, sa_column=Column(EnumText(Colour)))


@pytest_asyncio.fixture
async def database(databases: Databases) -> AsyncIterator[Database]:
    url = databases.empty("sample")
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


def _names(session: Session) -> list[str]:
    return list(session.connection().execute(select(Sample.__table__.c.name).order_by("id")).scalars())  # type: ignore[attr-defined]


async def test_a_write_is_read_back(database: Database) -> None:
    moment = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=5)))

    def write(session: Session) -> int | None:
        row = Sample(name="a", at=moment, body=b"\x00\xff", colour=Colour.BLUE)
        session.add(row)
        session.flush()
        return row.id

    key = await database.write(write)
    row = await database.read(lambda session: session.get(Sample, key))
    assert row is not None
    assert row.at == moment
    assert row.at is not None
    assert row.at.tzinfo is UTC
    assert (row.body, row.colour) == (b"\x00\xff", Colour.BLUE)


async def test_a_moment_without_zone_is_refused(database: Database) -> None:
    with pytest.raises(Exception, match="needs a time zone"):
        await database.write(lambda session: session.add(Sample(name="a", at=datetime(2026, 1, 1))))  # noqa: DTZ001


async def test_moments_compare_in_the_database(database: Database) -> None:
    moment = datetime(2026, 11, 21, tzinfo=UTC)
    await database.write(lambda session: session.add(Sample(name="a", at=moment)))

    def count(session: Session, limit: datetime) -> int:
        at = Sample.__table__.c.at  # type: ignore[attr-defined]
        found: int = session.connection().execute(select(func.count()).where(at < limit)).scalar_one()
        return found

    assert await database.read(lambda session: count(session, moment)) == 0
    assert await database.read(lambda session: count(session, moment + timedelta(microseconds=1))) == 1


async def test_a_failing_unit_is_undone_alone(database: Database) -> None:
    def fail(session: Session) -> None:
        session.add(Sample(name="lost"))
        session.flush()
        raise FailedPrecondition("No.", reason="NO")

    outcomes = await asyncio.gather(
        database.write(lambda session: session.add(Sample(name="a"))),
        database.write(fail),
        database.write(lambda session: session.add(Sample(name="b"))),
        database.write(lambda session: session.add(Sample(name="a"))),
        database.write(lambda session: session.add(Sample(name="c"))),
        return_exceptions=True,
    )
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds.count(FailedPrecondition) == 1
    assert kinds.count(IntegrityError) == 1
    assert sorted(await database.read(_names)) == ["a", "b", "c"]


async def test_concurrent_guarded_updates_count_exactly(database: Database) -> None:
    await database.write(lambda session: session.add(Sample(name="a")))
    table = Sample.__table__  # type: ignore[attr-defined]

    def increment(session: Session) -> int:
        statement = update(table).where(table.c.name == "a").values(count=table.c.count + 1).returning(table.c.count)
        number: int = session.connection().execute(statement).scalar_one()
        return number

    numbers = await asyncio.gather(*(database.write(increment) for _ in range(50)))
    assert sorted(numbers) == list(range(1, 51))


async def test_core_statements_and_rows_share_the_unit(database: Database) -> None:
    def unit(session: Session) -> int:
        session.add(Sample(name="a"))
        session.flush()
        session.connection().execute(insert(Sample), [{"name": "b", "count": 1}])
        return len(_names(session))

    assert await database.write(unit) == 2


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(Exception, match=r"readonly|read-only"):
        await database.read(lambda session: session.connection().execute(insert(Sample), [{"name": "x", "count": 0}]))
    assert await database.read(_names) == []


async def test_a_read_sees_every_answered_write(database: Database) -> None:
    for number in range(50):
        await database.write(lambda session, n=number: session.add(Sample(name=str(n))))  # type: ignore[misc]
        assert len(await database.read(_names)) == number + 1


async def test_the_databases_time_is_the_present(database: Database) -> None:
    now = await database.read(database_now)
    assert abs(datetime.now(UTC) - now) < timedelta(seconds=5)


async def test_leading_work_runs_to_its_end(database: Database) -> None:
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    await asyncio.wait_for(database.lead("matcher", work), 10)
    assert done.is_set()


async def test_an_error_of_leading_work_reaches_the_caller(database: Database) -> None:
    async def work() -> None:
        raise FailedPrecondition("No.", reason="NO")

    with pytest.raises(FailedPrecondition):
        await asyncio.wait_for(database.lead("matcher", work), 10)


async def test_a_second_process_is_refused_the_folder(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/room/room.db"
    async with open_database(url=url, room="room"):
        with pytest.raises(FailedPrecondition) as refused:
            async with open_database(url=url, room="room", lock_wait=timedelta(milliseconds=60)):
                pass
    assert refused.value.reason == "FOLDER_LOCKED"
    async with open_database(url=url, room="room"):
        pass
