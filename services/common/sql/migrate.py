"""Schema migrations of a room: one runner for all, over `services/<room>/migrations`.

Each room's `migrations/env.py` is two lines: it calls `run_migrations` with the room's metadata. Revisions stand in
`migrations/versions/NNNN_<slug>.py`; `services.common.sql.revision` drafts them.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, MetaData, text

from services.common.sql.address import DatabaseAddress
from services.common.sql.folder_lock import folder_lock
from services.common.sql.postgres import postgres_engine
from services.common.sql.sqlite_engine import writer_engine

if TYPE_CHECKING:  # Alembic is imported where it is used: members that find their tables right start without it
    from alembic.config import Config

T = TypeVar("T")


async def migrate(url: str, room: str, *, revision: str = "head", lock_wait: timedelta = timedelta()) -> None:
    """Bring the room's schema up to `revision`; nothing happens when it is there already.

    On SQLite the room's folder is locked meanwhile, so that no server runs on a schema in motion (FOLDER_LOCKED).
    """
    from alembic import command

    await _with_connection(
        url, room, lambda connection: command.upgrade(_config(room, connection), revision), lock_wait
    )


async def downgrade(url: str, room: str, *, revision: str = "base") -> None:
    """Take the room's schema back to `revision`."""
    from alembic import command

    await _with_connection(url, room, lambda connection: command.downgrade(_config(room, connection), revision))


async def drift(url: str, room: str, metadata: MetaData) -> list[Any]:
    """How the migrated database differs from the room's tables, as Alembic's operations; empty when it does not."""

    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def compare(connection: Connection) -> list[Any]:
        migration = MigrationContext.configure(connection, opts=_options())
        return list(compare_metadata(migration, metadata))

    return await _with_connection(url, room, compare)


def run_migrations(metadata: MetaData) -> None:
    """The body of every room's `env.py`; Alembic calls it with the connection that `migrate` prepared."""
    from alembic import context

    connection: Connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, **_options())
    with context.begin_transaction():
        context.run_migrations()


def _options() -> dict[str, Any]:
    # SQLite cannot alter most of a table: a batch rebuilds it. All migrations of one call are one transaction.
    return {"render_as_batch": True, "compare_type": True, "version_table": "schema_version"}


def _config(room: str, connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", f"services.{room}:migrations")
    config.set_main_option("path_separator", "os")
    return config


async def _with_connection(
    url: str, room: str, work: Callable[[Connection], T], lock_wait: timedelta = timedelta()
) -> T:
    address = DatabaseAddress.parse(url, room=room)
    if address.dialect == "sqlite":
        async with folder_lock(address.path.parent, wait=lock_wait):
            return await asyncio.to_thread(_on_sqlite, address, work)
    engine = postgres_engine(address)
    try:
        async with engine.begin() as connection:
            # One at a time, also between replicas that start together.
            await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": f"migrate {room}"})
            await connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{room}"'))
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _on_sqlite(address: DatabaseAddress, work: Callable[[Connection], T]) -> T:
    engine = writer_engine(address)
    try:
        with engine.begin() as connection:
            return work(connection)
    finally:
        engine.dispose()
