"""What runners turned out to lack, and how far runs are: small rows beside the attempts."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import Session

from services.run.model.progress import RunProgress
from services.run.store.tables import RUN_PROGRESS, RUNNER

MOST_MISSING = 1000
"""What is remembered of one runner; a graph may be refused for reasons without end."""

_CHANGED: dict[str, Any] = {"body": bindparam("new_body"), "at": bindparam("moment")}
_FIRST: dict[str, Any] = {"run_id": bindparam("of_run"), **_CHANGED}
_STORE = {
    "sqlite": sqlite_insert(RUN_PROGRESS)
    .values(_FIRST)
    .on_conflict_do_update(index_elements=["run_id"], set_=_CHANGED),
    "postgresql": postgres_insert(RUN_PROGRESS)
    .values(_FIRST)
    .on_conflict_do_update(index_elements=["run_id"], set_=_CHANGED),
}


def add_missing(session: Session, runner_id: str, missing: Collection[str]) -> None:
    """Note what a runner refused; it is forgotten when its backend or its catalogue changes."""
    connection = session.connection()
    had = connection.execute(select(RUNNER.c.missing_capabilities).where(RUNNER.c.id == runner_id)).scalar()
    now_missing = sorted({*(had or ()), *missing})[:MOST_MISSING]
    connection.execute(update(RUNNER).where(RUNNER.c.id == runner_id).values(missing_capabilities=now_missing))


def store_progress(session: Session, progress: Iterable[tuple[str, RunProgress]], *, now: datetime) -> None:
    """Keep the progress of runs, for those who ask later."""
    statement = _STORE[session.get_bind().dialect.name]
    for run_id, one in progress:
        session.connection().execute(statement, {"of_run": run_id, "new_body": one.to_json(), "moment": now})
