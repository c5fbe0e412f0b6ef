"""SQLite as a database: one writer thread per file, group commit, readers beside it.

How a write goes: (1) its unit is queued; (2) the writer thread begins one transaction for what waits; (3) each unit
after the first runs in a savepoint, so that a failing one is undone alone (a failing first one ends the transaction
before the others begin); (4) one commit, one fsync for all; (5) only then are the callers answered, in one call into
their event loop.
"""

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from queue import Empty, LifoQueue, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from services.common.errors import Unavailable
from services.common.sql.address import DatabaseAddress
from services.common.sql.sqlite_engine import reader_engine, writer_engine

T = TypeVar("T")

READERS = 2
MAX_BATCH = 64
SWITCH_SECONDS = 0.0002
"""How soon a thread that waits for the interpreter gets it. SQLite gives it away at every step: with Python's default
of 5 ms, beside a busy event loop, a unit of three rows took 230 ms instead of 2."""
MAX_BATCH_SECONDS = 0.01
"""A commit is not put off for longer than this by units that arrive while others run."""

_UNAVAILABLE_CODES = {5, 6, 7, 10, 13, 14}
"""BUSY, LOCKED, NOMEM, IOERR, FULL, CANTOPEN: the file's trouble, not the statement's."""


@dataclass(eq=False, kw_only=True)
class _Job:
    unit: Callable[[Session], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    answer: Any = None
    error: BaseException | None = field(default=None)


class _Writer:
    """The one thread that writes a file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._alone = Session(connection, expire_on_commit=False, join_transaction_mode="rollback_only")
        self._saved = Session(connection, expire_on_commit=False, join_transaction_mode="create_savepoint")
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="sqlite-writer")

    def start(self) -> None:
        self._thread.start()

    def submit(self, job: _Job) -> None:
        self._jobs.put(job)

    def stop(self) -> None:
        """Finish what is queued, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not self._batch(job):
                return

    def _batch(self, first: _Job) -> bool:
        """One transaction for `first` and those that wait behind it; False when asked to stop."""
        began, done, going_on = time.monotonic(), [first], True
        try:
            with self._connection.begin():
                self._run_first(first)
                while len(done) < MAX_BATCH and time.monotonic() - began < MAX_BATCH_SECONDS:
                    try:
                        waiting = self._jobs.get_nowait()
                    except Empty:
                        break
                    if waiting is None:
                        going_on = False
                        break
                    done.append(waiting)
                    self._run_saved(waiting)
        except BaseException as error:  # nothing of this batch is stored, and each of its callers learns it
            for failed in done:
                failed.error = failed.error or error
        _answer(done)
        return going_on

    def _run_first(self, job: _Job) -> None:
        """Run the unit that has the transaction to itself so far: what undoes it is the end of the transaction."""
        if job.future.cancelled():  # its caller went away while it waited
            return
        try:
            job.answer = job.unit(self._alone)
            self._alone.flush()
        finally:
            self._alone.close()

    def _run_saved(self, job: _Job) -> None:
        """Run a unit behind others, in a savepoint: it is undone alone."""
        if job.future.cancelled():
            return
        session = self._saved
        try:
            job.answer = job.unit(session)
            session.commit()  # releases the savepoint
        except BaseException as error:
            job.error = error
            session.rollback()  # to the savepoint; if the whole transaction is gone this raises and fails the batch
        finally:
            session.close()


def _answer(jobs: list[_Job]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, theirs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, theirs)
        except RuntimeError:  # that loop is closed: nobody waits any more
            continue


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is None:
            job.future.set_result(job.answer)
        else:
            job.future.set_exception(job.error)


class SqliteDatabase:
    """A `Database` over one SQLite file."""

    dialect = "sqlite"

    def __init__(self, *, writer: _Writer, readers: "LifoQueue[Connection]", threads: ThreadPoolExecutor) -> None:
        self._writer = writer
        self._readers = readers
        self._threads = threads

    async def write(self, unit: Callable[[Session], T]) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._writer.submit(_Job(unit=unit, loop=loop, future=future))
        try:
            return await future
        except OperationalError as error:
            raise _translated(error) from error

    async def read(self, unit: Callable[[Session], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, unit)
        except OperationalError as error:
            raise _translated(error) from error

    async def lead(self, name: str, work: Callable[[], Awaitable[None]]) -> None:  # noqa: ARG002 # the port's
        await work()

    def _read(self, unit: Callable[[Session], T]) -> T:
        connection = self._readers.get()
        try:
            with Session(connection, expire_on_commit=False) as session:
                answer = unit(session)
                session.expunge_all()
                return answer
        finally:
            connection.rollback()
            self._readers.put(connection)


def _translated(error: OperationalError) -> Exception:
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    if code in _UNAVAILABLE_CODES:
        return Unavailable("The database cannot be written now; try again.", reason="DATABASE_UNAVAILABLE")
    return error


@asynccontextmanager
async def open_sqlite(address: DatabaseAddress) -> AsyncIterator[SqliteDatabase]:
    """The database in `address`'s file; the caller holds its folder's lock."""
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS))
    write_connection = writer_engine(address).connect()
    reading = reader_engine(address)
    connections = [reading.connect() for _ in range(READERS)]
    readers: LifoQueue[Connection] = LifoQueue()
    for connection in connections:
        readers.put(connection)
    writer = _Writer(write_connection)
    threads = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")
    writer.start()
    try:
        yield SqliteDatabase(writer=writer, readers=readers, threads=threads)
    finally:
        await asyncio.shield(asyncio.to_thread(_close, writer, threads, [*connections, write_connection]))


def _close(writer: _Writer, threads: ThreadPoolExecutor, connections: list[Connection]) -> None:
    writer.stop()
    threads.shutdown()
    for connection in connections:  # the writer's last: closing the last connection checkpoints the log
        connection.close()
