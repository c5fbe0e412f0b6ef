"""Drafts a migration, to be read and corrected: `python -m services.common.sql.revision ROOM SLUG`."""

import asyncio
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

from alembic.autogenerate import api
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from alembic.operations.ops import MigrationScript
from sqlalchemy import Connection, MetaData

from services.common.sql.address import DatabaseAddress
from services.common.sql.columns import EnumText, UtcDateTime
from services.common.sql.migrate import migrate
from services.common.sql.sqlite_engine import writer_engine

_TEMPLATE = '''"""{title}."""

import sqlalchemy as sa
from alembic import op

{imports}revision = "{revision}"
down_revision = {down_revision}
branch_labels = None
depends_on = None


def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    {downgrade}
'''


async def draft(room: str, slug: str) -> Path:
    """Write the revision that takes the room's migrations to its present tables; returns its path.

    The tables are the `tables` of `services.<room>.store.tables` or, where the store is one module, of that.
    """
    versions = Path(__file__).parents[2] / room / "migrations" / "versions"
    versions.mkdir(exist_ok=True)
    present = sorted(path.stem[:4] for path in versions.glob("[0-9]*.py"))
    revision = f"{len(present) + 1:04}"
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/{room}.db"
        await migrate(url, room)
        engine = writer_engine(DatabaseAddress.parse(url, room=room))
        with engine.connect() as connection:
            script = _compare(connection, _metadata(room))
        engine.dispose()
    path = versions / f"{revision}_{slug}.py"
    path.write_text(_render(script, slug, revision, repr(present[-1]) if present else "None"))
    return path


def _metadata(room: str) -> MetaData:
    try:
        tables = importlib.import_module(f"services.{room}.store.tables").tables
    except ModuleNotFoundError:
        tables = importlib.import_module(f"services.{room}.store").tables
    metadata: MetaData = tables.metadata
    return metadata


def _compare(connection: Connection, metadata: MetaData) -> MigrationScript:
    context = MigrationContext.configure(
        connection,
        opts={"render_as_batch": True, "version_table": "schema_version", "target_metadata": metadata},
    )
    return api.produce_migrations(context, metadata)


def _render(script: MigrationScript, slug: str, revision: str, down_revision: str) -> str:
    def render_item(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
        if kind != "type":
            return False
        if isinstance(item, EnumText):  # a migration must not change when the enum does
            return "sa.String()"
        if type(item).__name__ == "AutoString":
            return "sa.String()" if item.length is None else f"sa.String({item.length})"
        return "UtcDateTime()" if isinstance(item, UtcDateTime) else False

    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    bodies = [
        api.render_python_code(ops, render_as_batch=True, render_item=render_item)
        for ops in (script.upgrade_ops, script.downgrade_ops)
    ]
    bodies = ["\n".join(line for line in body.split("\n") if " ### " not in line).strip() for body in bodies]
    uses_time = any("UtcDateTime()" in body for body in bodies)
    return _TEMPLATE.format(
        title=slug.replace("_", " ").capitalize(),
        imports="from services.common.sql import UtcDateTime\n\n" if uses_time else "",
        revision=revision,
        down_revision=down_revision,
        upgrade=bodies[0],
        downgrade=bodies[1],
    )


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(draft(sys.argv[1], sys.argv[2]))}\n")
