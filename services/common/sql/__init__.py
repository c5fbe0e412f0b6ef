"""Rows: one small interface over SQLite (one writer thread per file) and PostgreSQL (asyncpg)."""

from services.common.sql.address import DatabaseAddress
from services.common.sql.columns import EnumText, UtcDateTime
from services.common.sql.database import Database, open_database
from services.common.sql.folder_lock import folder_lock
from services.common.sql.now import database_now
from services.common.sql.prepared import Prepared
from services.common.sql.tables import TableRegistry

__all__ = [
    "Database",
    "DatabaseAddress",
    "EnumText",
    "Prepared",
    "TableRegistry",
    "UtcDateTime",
    "database_now",
    "folder_lock",
    "open_database",
]
