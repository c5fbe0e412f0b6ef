"""The log of a run: what happened to it, numbered without gaps from 1 (EXECUTION C1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.run.model.error import RunError
from services.run.model.output import RunOutput
from services.run.model.state import RunState


class EventType(StrEnum):
    """What a logged event says."""

    STATE_CHANGED = "STATE_CHANGED"
    ATTEMPT_STARTED = "ATTEMPT_STARTED"
    OUTPUT_ADDED = "OUTPUT_ADDED"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"

    @property
    def is_fact(self) -> bool:
        """Whether other rooms are told of it; the rest is for watchers only."""
        return self in (EventType.STATE_CHANGED, EventType.OUTPUT_ADDED)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEvent:
    """An event that is to be logged; made by the functions below, which know the bodies."""

    type: EventType
    attempt: int
    """Number of the attempt at that time; 0 before the first."""
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedEvent:
    """An event of the log."""

    run_id: str
    sequence: int
    type: EventType
    attempt: int
    body: Mapping[str, Any]
    at: datetime

    @property
    def new_state(self) -> RunState | None:
        """The state that the run is in since, if this event changed it."""
        return RunState(self.body["state"]) if self.type is EventType.STATE_CHANGED else None

    @property
    def ends_run(self) -> bool:
        """Whether nothing follows it."""
        state = self.new_state
        return state is not None and state.is_terminal


def state_changed(
    state: RunState, *, previous: RunState | None, attempt: int, error: RunError | None = None
) -> NewEvent:
    """The run is in another state; `previous` None: it was made. `error`: why the attempt, or the run, failed."""
    body: dict[str, Any] = {"state": state.value, "previous_state": previous.value if previous else None}
    if error is not None:
        body["error"] = error.to_json()
    return NewEvent(type=EventType.STATE_CHANGED, attempt=attempt, body=body)


def attempt_started(attempt: int, *, runner_id: str) -> NewEvent:
    """An attempt began on a runner: outputs of earlier attempts are void."""
    return NewEvent(type=EventType.ATTEMPT_STARTED, attempt=attempt, body={"runner_id": runner_id})


def output_added(output: RunOutput) -> NewEvent:
    """An output was stored."""
    return NewEvent(type=EventType.OUTPUT_ADDED, attempt=output.attempt, body=output.to_json())


def cancel_requested(*, attempt: int) -> NewEvent:
    """Somebody asked that the run stop."""
    return NewEvent(type=EventType.CANCEL_REQUESTED, attempt=attempt)
