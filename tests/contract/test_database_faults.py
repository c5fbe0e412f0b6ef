"""Databases that fill up, stop, restart and disagree."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import Session

from services.common.errors import Unavailable
from services.common.sql import Database, DatabaseAddress, open_database
from services.common.sql.sqlite_engine import SAFE_VERSION, sqlite_module
from tests.servers.postgres import PostgresServer

DEADLINE = 30.0


def _run(*statements: str) -> "Unit":
    return Unit(statements)


class Unit:
    """A unit of plain statements; its answer is the last one's first column."""

    def __init__(self, statements: tuple[str, ...]) -> None:
        self._statements = statements

    def __call__(self, session: Session) -> list[object]:
        answer: list[object] = []
        for statement in self._statements:
            result = session.connection().execute(text(statement))
            answer = list(result.scalars()) if result.returns_rows else []
        return answer


@asynccontextmanager
async def _sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(url=f"sqlite:///{tmp_path}/room/room.db", room="room") as database:
        await database.write(_run("CREATE TABLE sample (name TEXT)"))
        yield database


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    one = PostgresServer()
    try:
        one.start()
        yield one
    finally:
        one.close()


async def test_a_full_disk_fails_the_batch_and_nothing_else(tmp_path: Path) -> None:
    async with _sqlite(tmp_path) as database:
        pages = (await database.write(_run("PRAGMA page_count")))[0]
        await database.write(_run(f"PRAGMA max_page_count = {int(str(pages)) + 8}"))
        big = f"INSERT INTO sample VALUES ('{'x' * 100_000}')"
        outcomes = await asyncio.gather(
            database.write(_run("INSERT INTO sample VALUES ('a')")),
            database.write(_run(big)),
            database.write(_run("INSERT INTO sample VALUES ('b')")),
            return_exceptions=True,
        )
        assert isinstance(outcomes[1], Unavailable)
        answered = [name for name, outcome in zip("a-b", outcomes, strict=True) if not isinstance(outcome, Exception)]
        assert await database.read(_run("SELECT name FROM sample ORDER BY name")) == answered
        await database.write(_run("PRAGMA max_page_count = 100000"))
        await database.write(_run(big))
        assert (await database.read(_run("SELECT count(*) FROM sample")))[0] == len(answered) + 1


async def test_writes_are_durable_logged_and_checked(tmp_path: Path) -> None:
    async with _sqlite(tmp_path) as database:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert await database.write(_run(f"PRAGMA {pragma}")) == [value]
        assert await database.read(_run("PRAGMA query_only")) == [1]


async def test_the_library_is_the_safest_at_hand() -> None:
    module = sqlite_module()
    has_newer = pytest.importorskip("pysqlite3")
    assert has_newer
    assert module.sqlite_version_info >= SAFE_VERSION


async def test_a_caller_that_went_away_costs_the_others_nothing(tmp_path: Path) -> None:
    async with _sqlite(tmp_path) as database:
        gone = asyncio.ensure_future(database.write(_run("INSERT INTO sample VALUES ('gone')")))
        kept = asyncio.ensure_future(database.write(_run("INSERT INTO sample VALUES ('kept')")))
        await asyncio.sleep(0)
        gone.cancel()
        await kept
        assert "kept" in await database.read(_run("SELECT name FROM sample"))


async def test_queued_writes_are_done_before_it_closes(tmp_path: Path) -> None:
    async with _sqlite(tmp_path) as database:
        writes = [asyncio.ensure_future(database.write(_run("INSERT INTO sample VALUES ('a')"))) for _ in range(100)]
        await asyncio.sleep(0)
    await asyncio.gather(*writes)
    async with open_database(url=f"sqlite:///{tmp_path}/room/room.db", room="room") as database:
        assert await database.read(_run("SELECT count(*) FROM sample")) == [100]


async def test_serialization_failures_are_tried_again(server: PostgresServer) -> None:
    async with open_database(url=server.url(), room="public") as database:
        await database.write(_run("CREATE TABLE pair (name TEXT PRIMARY KEY, n INT)"))
        await database.write(_run("INSERT INTO pair VALUES ('a', 0), ('b', 0)"))
        pause = "SELECT pg_sleep(0.01)"
        one = _run("UPDATE pair SET n = n + 1 WHERE name = 'a'", pause, "UPDATE pair SET n = n + 1 WHERE name = 'b'")
        two = _run("UPDATE pair SET n = n + 1 WHERE name = 'b'", pause, "UPDATE pair SET n = n + 1 WHERE name = 'a'")
        await asyncio.gather(*(database.write(unit) for unit in (one, two) * 2))
        assert await database.read(_run("SELECT n FROM pair ORDER BY name")) == [4, 4]


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_units_wait_for_a_server_that_restarts(server: PostgresServer, how: str) -> None:
    async with open_database(url=server.url(), room="public") as database:
        await database.write(_run("CREATE TABLE sample (name TEXT)"))
        await asyncio.gather(*(database.read(_run("SELECT 1")) for _ in range(5)))
        await asyncio.to_thread(server.stop if how == "stop" else server.kill)
        writing = asyncio.ensure_future(database.write(_run("INSERT INTO sample VALUES ('a')")))
        reading = asyncio.ensure_future(database.read(_run("SELECT 1")))
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(DEADLINE):
            await writing
            assert await reading == [1]
        assert await database.read(_run("SELECT name FROM sample")) == ["a"]


async def test_one_replica_leads_and_the_next_takes_over(server: PostgresServer) -> None:
    leading: asyncio.Queue[str] = asyncio.Queue()
    active: set[str] = set()

    async def lead(name: str) -> None:
        async def work() -> None:
            active.add(name)
            assert len(active) == 1
            leading.put_nowait(name)
            try:
                await asyncio.Event().wait()
            finally:
                active.discard(name)

        async with open_database(url=server.url(), room="public") as database:
            await database.lead("matcher", work)

    async with asyncio.timeout(DEADLINE):
        replicas = {name: asyncio.ensure_future(lead(name)) for name in ("one", "two")}
        first = await leading.get()
        replicas[first].cancel()
        second = await leading.get()
        assert second != first
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        assert await leading.get() == second
        replicas[second].cancel()
        await asyncio.wait(replicas.values())


def test_addresses_name_a_file_or_a_server() -> None:
    assert DatabaseAddress.parse("sqlite:////a/b.db", room="run").path == Path("/a/b.db")
    assert DatabaseAddress.parse("postgresql://h/d", room="run").url.drivername == "postgresql+asyncpg"
    for wrong in ("sqlite://", "sqlite:///:memory:", "mysql://h/d"):
        with pytest.raises(ValueError, match=r"SQLite|Databases"):
            DatabaseAddress.parse(wrong, room="run")
