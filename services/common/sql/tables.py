"""One registry of tables per room, so that two rooms never share metadata."""

from sqlalchemy import MetaData
from sqlalchemy.orm import registry

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class TableRegistry(registry):
    """A room's tables: `class RunTable(SQLModel, registry=tables)` is the parent of its row classes.

    Constraints are named by rule: a migration on SQLite rebuilds tables and must be able to name what it keeps.
    """

    def __init__(self) -> None:
        super().__init__(metadata=MetaData(naming_convention=NAMING))
