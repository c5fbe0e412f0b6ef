"""A run's life as a state machine (DESIGN §4).

1. ACCEPTED (inputs being fetched) → QUEUED, or an early end.
2. QUEUED → DISPATCHED when a runner is found.
3. DISPATCHED → RUNNING when a backend begins it.
4. DISPATCHED or RUNNING → QUEUED when the attempt is lost, handed back or may be repeated.
5. Any of them → one terminal state, once. Terminal states never change.
"""

from collections.abc import Mapping
from enum import StrEnum


class RunState(StrEnum):
    """Where a run is in its life."""

    ACCEPTED = "ACCEPTED"
    QUEUED = "QUEUED"
    DISPATCHED = "DISPATCHED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"
    INVALID = "INVALID"

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self in TERMINAL_STATES


TERMINAL_STATES = frozenset(
    {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.TIMED_OUT, RunState.INVALID}
)
WAITING_STATES = frozenset({RunState.ACCEPTED, RunState.QUEUED})
ACTIVE_STATES = frozenset({RunState.DISPATCHED, RunState.RUNNING})
"""States in which the run holds a runner's slot."""

NEXT_STATES: Mapping[RunState, frozenset[RunState]] = {
    RunState.ACCEPTED: frozenset({RunState.QUEUED}) | TERMINAL_STATES - {RunState.SUCCEEDED},
    # A lapsed execution keeps its attempt while it waits again: a late report of it still counts (EXECUTION A5).
    RunState.QUEUED: ACTIVE_STATES | TERMINAL_STATES,
    RunState.DISPATCHED: frozenset({RunState.RUNNING, RunState.QUEUED}) | TERMINAL_STATES,
    # INVALID means that no node ran.
    RunState.RUNNING: frozenset({RunState.QUEUED}) | TERMINAL_STATES - {RunState.INVALID},
    **{state: frozenset[RunState]() for state in TERMINAL_STATES},
}


def may_become(state: RunState, to: RunState) -> bool:
    """Whether a run in `state` may next be in state `to`."""
    return to in NEXT_STATES[state]
