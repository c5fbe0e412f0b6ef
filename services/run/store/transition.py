"""The one way in which a run's state changes: a guarded UPDATE."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlmodel import Session

from services.run.model.run import Run
from services.run.model.state import RunState, may_become
from services.run.store.run_row import run_of
from services.run.store.tables import RUN


def transition(
    session: Session,
    run_id: str,
    *,
    from_states: Collection[RunState],
    to: RunState,
    now: datetime,
    attempt: int | None = None,
    values: Mapping[str, Any] | None = None,
    events: int = 0,
) -> Run | None:
    """Put the run into state `to` if it is in one of `from_states` (and at `attempt`, if given); None if it is not.

    `values` are further columns of the row. `events` numbers are reserved in the same UPDATE, for `append_events`
    with `run=` what this returns. The end of a run sets `finished_at`. ValueError for a change that the state
    machine does not know; a state in `from_states` from which `to` cannot be reached is a mistake of the caller.
    """
    if wrong := [state for state in from_states if state != to and not may_become(state, to)]:
        raise ValueError(f"A run does not go from {', '.join(sorted(wrong))} to {to}.")
    condition = [RUN.c.id == run_id, RUN.c.state.in_([state.value for state in from_states])]
    if attempt is not None:
        condition.append(RUN.c.attempt == attempt)
    changes: dict[str, Any] = {"state": to.value, "change_time": now, **(values or {})}
    if events:
        changes["sequence"] = RUN.c.sequence + events
    if to.is_terminal:
        changes.setdefault("finished_at", now)
    row = session.connection().execute(update(RUN).where(*condition).values(changes).returning(RUN)).mappings().first()
    return None if row is None else run_of(row)
