"""The one way in which a run's state changes: a guarded UPDATE."""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, or_, update
from sqlmodel import Session

from services.common.sql import Prepared
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
    changes: dict[str, Any] = {"state": to.value, "change_time": now, **(values or {})}
    if to.is_terminal:
        changes.setdefault("finished_at", now)
    names = tuple(sorted(changes))
    statement = _statement(names, len(from_states), guards_attempt=attempt is not None, counts=events > 0)
    parameters: dict[str, Any] = {f"new_{name}": changes[name] for name in names}
    parameters |= {f"from_{place}": state.value for place, state in enumerate(from_states)}
    parameters |= {"of_run": run_id, "at_attempt": attempt, "more_events": events}
    row = statement.first(session, parameters)
    return None if row is None else run_of(row._asdict())


@lru_cache(maxsize=256)
def _statement(names: tuple[str, ...], states: int, *, guards_attempt: bool, counts: bool) -> Prepared:
    """The UPDATE of one shape: to build it anew each time would cost more than to run it."""
    condition = [
        RUN.c.id == bindparam("of_run"),
        or_(*(RUN.c.state == bindparam(f"from_{one}") for one in range(states))),
    ]
    if guards_attempt:
        condition.append(RUN.c.attempt == bindparam("at_attempt"))
    changes: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
    if counts:
        changes["sequence"] = RUN.c.sequence + bindparam("more_events")
    return Prepared(update(RUN).where(*condition).values(changes).returning(RUN))
