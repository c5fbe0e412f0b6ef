"""What a room's store is written against."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Protocol, TypeVar

from sqlmodel import Session

from services.common.sql.address import DatabaseAddress
from services.common.sql.folder_lock import folder_lock

T = TypeVar("T")


class Database(Protocol):
    """A room's rows. Stores hand in whole units of work, as synchronous functions over a session.

    A unit neither commits nor rolls back, does no other I/O, waits for nothing, and may run more than once (on
    PostgreSQL it is repeated after a serialization failure or a lost connection): everything it decides, it reads
    in itself. What it raises undoes it and reaches its own caller.
    """

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        ...

    async def write(self, unit: Callable[[Session], T]) -> T:
        """Run `unit` in a transaction; its answer is given after the commit is durable.

        Unavailable DATABASE_UNAVAILABLE if the database cannot be reached or written. If that happens during the
        commit itself the unit may have been done: only idempotent units are safe to ask for again.
        """
        ...

    async def read(self, unit: Callable[[Session], T]) -> T:
        """Run `unit` on one consistent snapshot, read only; it sees every write that was answered before."""
        ...

    async def glance(self, unit: Callable[[Session], T]) -> T:
        """Like `read`, for a few rows found by their keys: on SQLite the event loop waits for it."""
        ...

    async def lead(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` while this process is the only one leading `name` on this database, until `work` returns.

        On PostgreSQL an advisory lock elects one of the replicas; `work` is cancelled when the lock may be lost, and
        started again once it is regained. On SQLite the process that holds the file leads.
        """
        ...


@asynccontextmanager
async def open_database(*, url: str, room: str, lock_wait: timedelta = timedelta()) -> AsyncIterator[Database]:
    """The database of `room` at `url`, already migrated.

    On SQLite the file's folder is locked for this process (FailedPrecondition FOLDER_LOCKED after `lock_wait`).
    """
    address = DatabaseAddress.parse(url, room=room)
    if address.dialect == "sqlite":
        from services.common.sql.sqlite import open_sqlite

        async with folder_lock(address.path.parent, wait=lock_wait), open_sqlite(address) as sqlite:
            yield sqlite
    else:
        from services.common.sql.postgres import open_postgres

        async with open_postgres(address) as postgres:
            yield postgres
