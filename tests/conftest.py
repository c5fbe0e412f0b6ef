"""Fixtures for every tier: the servers that tests start themselves, and databases on both of the fleet's kinds."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from services.common.sql import Database, open_database
from tests.servers.databases import Databases
from tests.servers.nats import NatsServer
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole session; tests that break it start one of their own."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A nats-server for the whole session; tests that break it start one of their own."""
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Fresh databases, in turn on SQLite and on PostgreSQL: what uses this runs on both."""
    postgres = request.getfixturevalue("postgres_server") if request.param == "postgresql" else None
    return Databases(folder=tmp_path_factory.mktemp("databases"), postgres=postgres)


@pytest.fixture
def room() -> str:
    """The room whose tables `database` holds; every contract suite overrides this with its own."""
    raise LookupError("Override the fixture `room` beside the tests that use `database`.")


@pytest.fixture
def database_url(databases: Databases, room: str) -> str:
    """A fresh database of `room`, migrated."""
    return databases.fresh(room)


@pytest_asyncio.fixture
async def database(database_url: str, room: str) -> AsyncIterator[Database]:
    """A fresh, migrated, open database of `room`, on SQLite and on PostgreSQL in turn."""
    async with open_database(url=database_url, room=room) as opened:
        yield opened
