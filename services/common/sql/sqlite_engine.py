"""SQLite engines: which library, which pragmas, and transactions that begin when we say so."""

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from services.common.sql.address import DatabaseAddress

BUSY_TIMEOUT = timedelta(seconds=5)
SAFE_VERSION = (3, 51, 3)
"""From here on WAL has no reset race between connections (sqlite.org/wal.html#walresetbug)."""

_WRITER_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA journal_size_limit=67108864",
)
_READER_PRAGMAS = ("PRAGMA query_only=ON",)


def sqlite_module() -> ModuleType:
    """The library to drive: Python's own if it is safe, else `pysqlite3`'s newer one where that is installed."""
    if sqlite3.sqlite_version_info >= SAFE_VERSION:
        return sqlite3
    try:
        from pysqlite3 import dbapi2
    except ImportError:
        return sqlite3
    module: ModuleType = dbapi2
    return module


def writer_engine(address: DatabaseAddress) -> Engine:
    """An engine whose transactions take the write lock at their start (BEGIN IMMEDIATE), and so never fail half way."""
    return _engine(address, _WRITER_PRAGMAS, "BEGIN IMMEDIATE")


def reader_engine(address: DatabaseAddress) -> Engine:
    """An engine that can only read; each transaction sees one snapshot."""
    return _engine(address, _READER_PRAGMAS, "BEGIN")


def _engine(address: DatabaseAddress, pragmas: tuple[str, ...], begin: str) -> Engine:
    engine = create_engine(
        address.url,
        module=sqlite_module(),
        poolclass=NullPool,
        # No implicit BEGIN by the driver; connections move between threads but are used by one at a time.
        connect_args={
            "isolation_level": None,
            "check_same_thread": False,
            "timeout": BUSY_TIMEOUT.total_seconds(),
            "cached_statements": 512,
        },
    )
    event.listen(engine, "connect", _pragma_setter(pragmas))
    event.listen(engine, "begin", _beginner(begin))
    return engine


def _pragma_setter(pragmas: tuple[str, ...]) -> Callable[[Any, object], None]:
    def connect(connection: Any, _record: object) -> None:
        for pragma in pragmas:
            connection.execute(pragma)

    return connect


def _beginner(statement: str) -> Callable[[Connection], None]:
    def begin(connection: Connection) -> None:
        # By the driver itself: SQLAlchemy would take ten times as long, for each transaction.
        connection.connection.dbapi_connection.execute(statement)  # type: ignore[union-attr]

    return begin
