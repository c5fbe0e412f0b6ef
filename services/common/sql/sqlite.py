"""SQLite as a database: units run where they are asked for, one thread commits, readers beside it.

How a write goes: (1) its unit waits while a commit is under way; (2) one transaction begins for all that wait;
(3) each unit after the first runs in a savepoint, so that a failing one is undone alone (a failing first one ends the
transaction before the others begin); (4) the committing thread makes one commit, one fsync for all; (5) only then are
the callers answered.

Statements run on the event loop's own thread: SQLite gives the interpreter away at every step, and a second thread
that runs them fights the loop for it at each. A short unit costs a third of a millisecond there; beside a busy loop it
cost ten times as much in a thread. What may wait for the disk, the commit and its checkpoints, never runs on the loop.
"""

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from queue import LifoQueue, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from services.common.errors import Unavailable
from services.common.sql.address import DatabaseAddress
from services.common.sql.prepared import DRIVER
from services.common.sql.sqlite_engine import reader_engine, writer_engine

T = TypeVar("T")

READERS = 2
MAX_BATCH = 64
MAX_BATCH_SECONDS = 0.005
"""The event loop is not held for longer than this by units that wait together."""
SWITCH_SECONDS = 0.001
"""How soon a thread that waits for the interpreter gets it: a long read, beside a busy event loop, gives it away at
every step, and would wait for Python's default of 5 ms each time."""

_UNAVAILABLE_CODES = {5, 6, 7, 10, 13, 14}
"""BUSY, LOCKED, NOMEM, IOERR, FULL, CANTOPEN: the file's trouble, not the statement's."""


_Done = Callable[[BaseException | None], None]


@dataclass(eq=False, kw_only=True)
class _Job:
    unit: Callable[[Session], Any]
    future: asyncio.Future[Any]
    answer: Any = None
    error: BaseException | None = field(default=None)


class _TransactionLostError(Exception):
    """A unit behind others has undone the transaction of all."""


class _Committer:
    """The one thread that waits for the disk. It runs one thing at a time, and tells the loop when that is done."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._work: SimpleQueue[tuple[Callable[[], None], Callable[[BaseException | None], None]] | None] = (
            SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="sqlite-committer")

    def start(self) -> None:
        self._thread.start()

    def submit(self, work: Callable[[], None], done: _Done) -> None:
        """Runs `work` in the thread, then `done` in the loop with what it raised."""
        self._work.put((work, done))

    def stop(self) -> None:
        """Finish what is queued, then end the thread."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (entry := self._work.get()) is not None:
            work, done = entry
            error: BaseException | None = None
            try:
                work()
            except BaseException as raised:  # its callers learn it
                error = raised
            try:
                self._loop.call_soon_threadsafe(done, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return


class _Writer:
    """The one connection that writes a file."""

    def __init__(self, connection: Connection, committer: _Committer) -> None:
        self._connection = connection
        self._committer = committer
        self._session = _session(connection, join_transaction_mode="rollback_only")
        driver = connection.connection.driver_connection
        assert driver is not None
        self._driver: Any = driver
        self._waiting: deque[_Job] = deque()
        self._committing = False
        self.idle = asyncio.Event()
        self.idle.set()

    def submit(self, job: _Job) -> None:
        """Runs the unit now, or with the others that wait for the commit under way."""
        self._waiting.append(job)
        if not self._committing:
            self._batch()

    def _batch(self) -> None:
        """One transaction for what waits, as far as its time allows; handed to the committer."""
        while self._waiting:
            began, done = time.monotonic(), [self._waiting.popleft()]
            transaction = self._connection.begin()
            try:
                self._run_first(done[0])
                while self._waiting and len(done) < MAX_BATCH and time.monotonic() - began < MAX_BATCH_SECONDS:
                    done.append(self._waiting.popleft())
                    self._run_saved(done[-1])
            except _TransactionLostError:  # by the last unit: it failed, and those before it run again, as units may
                failed = done.pop()
                _answer([failed], failed.error)
                self._waiting.extendleft(reversed(done))
                continue
            except BaseException as error:  # nothing of this batch is stored, and each of its callers learns it
                if self._connection.in_transaction():  # the unit's session may have ended it already
                    self._connection.rollback()
                _answer(done, error)
                continue
            self._committing = True
            self.idle.clear()
            self._committer.submit(transaction.commit, lambda error, jobs=done: self._committed(jobs, error))  # type: ignore[misc]
            return
        self.idle.set()

    def _committed(self, jobs: list[_Job], error: BaseException | None) -> None:
        if error is not None and self._connection.in_transaction():
            self._connection.rollback()
        self._committing = False
        _answer(jobs, error)
        self._batch()

    def _run_first(self, job: _Job) -> None:
        """Run the unit that has the transaction to itself so far: what undoes it is the end of the transaction."""
        if job.future.cancelled():  # its caller went away while it waited
            return
        try:
            job.answer = job.unit(self._session)
            self._session.flush()
        finally:
            self._session.close()

    def _run_saved(self, job: _Job) -> None:
        """Run a unit behind others, in a savepoint: it is undone alone.

        The savepoint is the driver's: SQLAlchemy's own, with a session for it, cost as much as three statements.
        Raises _TransactionLostError where the unit's session undid more than that, which a failing flush does.
        """
        if job.future.cancelled():
            return
        job.error = None
        self._driver.execute("SAVEPOINT unit")
        try:
            job.answer = job.unit(self._session)
            self._session.flush()
        except BaseException as error:
            job.error = error
            if not self._connection.in_transaction():
                raise _TransactionLostError from error
            self._driver.execute("ROLLBACK TO unit")  # if SQLite ended the transaction, this raises and fails the batch
        finally:
            self._session.close()
        self._driver.execute("RELEASE unit")


def _answer(jobs: list[_Job], error: BaseException | None) -> None:
    for job in jobs:
        if job.future.done():
            continue
        failure = job.error or error
        if failure is None:
            job.future.set_result(job.answer)
        else:
            job.future.set_exception(failure)


class SqliteDatabase:
    """A `Database` over one SQLite file. It belongs to the event loop that opened it."""

    dialect = "sqlite"

    def __init__(
        self, *, writer: _Writer, glancer: Connection, readers: "LifoQueue[Connection]", threads: ThreadPoolExecutor
    ) -> None:
        self._writer = writer
        self._glancer = glancer
        self._readers = readers
        self._threads = threads

    async def write(self, unit: Callable[[Session], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writer.submit(_Job(unit=unit, future=future))
        try:
            return await future
        except OperationalError as error:
            raise _translated(error) from error

    async def read(self, unit: Callable[[Session], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, unit)
        except OperationalError as error:
            raise _translated(error) from error

    async def glance(self, unit: Callable[[Session], T]) -> T:
        try:
            return _read_on(self._glancer, unit)
        except OperationalError as error:
            raise _translated(error) from error

    async def lead(self, name: str, work: Callable[[], Awaitable[None]]) -> None:  # noqa: ARG002 # the port's
        await work()

    def _read(self, unit: Callable[[Session], T]) -> T:
        connection = self._readers.get()
        try:
            return _read_on(connection, unit)
        finally:
            self._readers.put(connection)


def _read_on(connection: Connection, unit: Callable[[Session], T]) -> T:
    transaction = connection.begin()
    try:
        with _session(connection) as session:
            answer = unit(session)
            session.expunge_all()
            return answer
    finally:
        transaction.rollback()


def _session(connection: Connection, **options: Any) -> Session:
    """A session on `connection`, for prepared statements too."""
    driver = connection.connection.dbapi_connection
    return Session(connection, expire_on_commit=False, info={DRIVER: driver}, **options)


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
    glancer, *connections = [reading.connect() for _ in range(READERS + 1)]
    readers: LifoQueue[Connection] = LifoQueue()
    for connection in connections:
        readers.put(connection)
    committer = _Committer(asyncio.get_running_loop())
    writer = _Writer(write_connection, committer)
    threads = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")
    committer.start()
    try:
        yield SqliteDatabase(writer=writer, glancer=glancer, readers=readers, threads=threads)
    finally:
        await asyncio.shield(writer.idle.wait())
        everything = [glancer, *connections, write_connection]
        await asyncio.shield(asyncio.to_thread(_close, committer, threads, everything))


def _close(committer: _Committer, threads: ThreadPoolExecutor, connections: list[Connection]) -> None:
    committer.stop()
    threads.shutdown()
    for connection in connections:  # the writer's last: closing the last connection checkpoints the log
        connection.close()
