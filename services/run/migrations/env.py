"""Alembic's entry to the run room's migrations."""

from services.common.sql.migrate import run_migrations
from services.run.store.tables import tables

run_migrations(tables.metadata)
