"""The database's own time, for deadlines and leases that several replicas compare."""

from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlmodel import Session


def database_now(session: Session) -> datetime:
    """The database's present moment (not the transaction's start); on SQLite this machine's, which is the same."""
    if session.get_bind().dialect.name == "sqlite":
        return datetime.now(UTC)
    now: datetime = session.connection().execute(select(func.clock_timestamp())).scalar_one()
    return now.astimezone(UTC)
