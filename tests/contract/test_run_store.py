"""What the run room's stores promise, on SQLite and on PostgreSQL."""

import pytest

from services.run.store.tables import tables
from tests.servers.databases import Databases
from tests.servers.migrations import check_migrations


@pytest.fixture
def room() -> str:
    return "run"


def test_migrations_lead_to_the_tables_and_back(databases: Databases) -> None:
    check_migrations(databases.empty("run"), "run", tables.metadata)
