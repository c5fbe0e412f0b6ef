"""PostgreSQL as a database: asyncpg, a schema per room, units repeated when the server asks for it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from hashlib import sha256
from typing import TypeVar

import asyncpg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import Session

from services.common.errors import Unavailable
from services.common.sql.address import DatabaseAddress

T = TypeVar("T")

RETRY_FOR = timedelta(seconds=10)
"""A unit that cannot be done is tried again for so long: the time of a server's restart."""
STATEMENT_TIMEOUT = timedelta(seconds=30)
LEADER_POLL = timedelta(seconds=1)
LEADER_DEADLINE = timedelta(seconds=5)
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.5

_TROUBLES = (DBAPIError, PoolTimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""What reaches us when a server goes away; the driver's own errors are wrapped only after connecting."""
_CONFLICTS = {"40001", "40P01"}
"""Serialization failure and deadlock: the transaction is undone, the same unit may win next time."""
_AWAY_CLASSES = {"08", "57", "53"}
"""Connection exceptions, operator intervention (shutdown, starting up), insufficient resources."""


def postgres_engine(address: DatabaseAddress) -> AsyncEngine:
    """An engine whose unqualified names are those of the room's schema."""
    return create_async_engine(
        address.url,
        pool_size=8,
        max_overflow=8,
        pool_timeout=RETRY_FOR.total_seconds(),
        connect_args={
            "timeout": LEADER_DEADLINE.total_seconds(),
            "server_settings": {
                "search_path": f'"{address.room}"',
                "application_name": f"comfyfleet-{address.room}",
                "statement_timeout": str(int(STATEMENT_TIMEOUT.total_seconds() * 1000)),
                "timezone": "UTC",
            },
        },
    )


class PostgresDatabase:
    """A `Database` over one schema of a PostgreSQL server."""

    dialect = "postgresql"

    def __init__(self, *, engine: AsyncEngine) -> None:
        self._engine = engine
        self._reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    async def write(self, unit: Callable[[Session], T]) -> T:
        async def attempt() -> T:
            async with self._engine.connect() as connection:
                answer = await connection.run_sync(_in_session, unit)
                try:
                    await connection.commit()
                except _TROUBLES as error:
                    if _sqlstate(error) in _CONFLICTS or not _is_passing(error):
                        raise
                    raise _unavailable() from error  # perhaps it was committed: not ours to do a second time
                return answer

        return await _insist(attempt)

    async def read(self, unit: Callable[[Session], T]) -> T:
        async def attempt() -> T:
            async with self._reading.connect() as connection:
                return await connection.run_sync(_in_session, unit)

        return await _insist(attempt)

    async def glance(self, unit: Callable[[Session], T]) -> T:
        return await self.read(unit)

    async def lead(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                if await self._lead_once(name, work):
                    return
            except _TROUBLES as error:
                if not _is_passing(error):
                    raise
            await asyncio.sleep(LEADER_POLL.total_seconds())

    async def _lead_once(self, name: str, work: Callable[[], Awaitable[None]]) -> bool:
        """One candidature: False if somebody else leads or the lock's connection went away, True when work is done."""
        seconds = LEADER_DEADLINE.total_seconds()
        async with asyncio.timeout(seconds):
            connection = await self._engine.connect()
        try:
            key = int.from_bytes(sha256(name.encode()).digest()[:8], signed=True)
            async with asyncio.timeout(seconds):
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                won = await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key})
            if not won:
                return False
            leading = asyncio.ensure_future(work())
            try:
                while not (await asyncio.wait({leading}, timeout=LEADER_POLL.total_seconds()))[0]:
                    async with asyncio.timeout(seconds):
                        await connection.execute(text("SELECT 1"))
            finally:
                leading.cancel()
                await asyncio.wait({leading})
            leading.result()
            return True
        finally:
            # The lock belongs to the session: end it rather than hand the connection back to the pool.
            await asyncio.shield(_discard(connection.invalidate(), connection.close()))


async def _discard(*steps: Awaitable[None]) -> None:
    for step in steps:
        await step


def _in_session(connection: Connection, unit: Callable[[Session], T]) -> T:
    connection.begin()  # before the session, which would otherwise own the transaction and end it when it closes
    session = Session(connection, expire_on_commit=False, join_transaction_mode="rollback_only")
    try:
        answer = unit(session)
        session.flush()
        session.expunge_all()
        return answer
    finally:
        session.close()


async def _insist(attempt: Callable[[], Awaitable[T]]) -> T:
    """Try until it works, the error is the unit's own, or the time is up."""
    deadline = time.monotonic() + RETRY_FOR.total_seconds()
    pause = _FIRST_PAUSE
    while True:
        try:
            return await attempt()
        except _TROUBLES as error:
            if not _is_passing(error):
                raise
            if time.monotonic() >= deadline:
                raise _unavailable() from error
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 # jitter
        pause = min(pause * 2, _LONGEST_PAUSE)


def _is_passing(error: Exception) -> bool:
    """Whether the same unit may work a moment later."""
    if isinstance(error, PoolTimeoutError | OSError | TimeoutError | asyncpg.InterfaceError):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    state = _sqlstate(error)
    return state in _CONFLICTS or state[:2] in _AWAY_CLASSES


def _sqlstate(error: Exception) -> str:
    origin = error.orig if isinstance(error, DBAPIError) else error
    return getattr(origin, "sqlstate", None) or ""


def _unavailable() -> Unavailable:
    return Unavailable("The database cannot be reached; try again.", reason="DATABASE_UNAVAILABLE")


@asynccontextmanager
async def open_postgres(address: DatabaseAddress) -> AsyncIterator[PostgresDatabase]:
    """The database at `address`; connections are made when first needed, so that a server may come later."""
    engine = postgres_engine(address)
    try:
        yield PostgresDatabase(engine=engine)
    finally:
        await asyncio.shield(engine.dispose())
