"""Alembic's way into this room's tables."""

from services.access.store.tables import tables
from services.common.sql.migrate import run_migrations

run_migrations(tables.metadata)
