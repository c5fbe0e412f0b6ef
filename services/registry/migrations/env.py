"""Alembic's way into this room's tables."""

from services.common.sql.migrate import run_migrations
from services.registry.store.tables import tables

run_migrations(tables.metadata)
