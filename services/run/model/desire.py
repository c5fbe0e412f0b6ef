"""What a dispatcher should have (DesiredState), made from one snapshot of the rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

from services.run.model.run import RunInput
from services.run.model.state import RunState

SHORT_WORK = timedelta(milliseconds=250)
"""An execution enters the backend's own queue only while less work than this stands before it (EXECUTION A18)."""
UNKNOWN_WORK = timedelta(seconds=10)
"""What is assumed of an execution whose like was never measured."""
MAX_SPEC_BYTES = 8 * 1024 * 1024
"""Most bytes of specs in one message, beyond the first spec (EXECUTION A16)."""
_PROMPT_SPACE = UUID("6f1d7f0e-6b0b-5b64-9a35-0f5a4f0c9d11")


class Action(StrEnum):
    """What to do with an execution."""

    RUN = "RUN"
    STAGE = "STAGE"
    CANCEL = "CANCEL"
    RECALL = "RECALL"


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldRunner:
    """A runner that the dispatcher holds."""

    runner_id: str
    local_key: str
    epoch: int
    enabled: bool
    draining: bool
    execution_slots: int


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldExecution:
    """An execution that stands in a slot of one of the dispatcher's runners."""

    run_id: str
    attempt: int
    runner_id: str
    epoch: int
    team_id: str
    state: RunState
    assigned_at: datetime
    cancel_requested: bool
    recalled: bool
    submitted: bool
    started_at: datetime | None
    timeout: timedelta
    predicted: timedelta | None
    outputs_count: int
    """How many of its outputs are recorded."""

    @property
    def key(self) -> tuple[str, int]:
        """Run and attempt."""
        return self.run_id, self.attempt


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """All that a dispatcher holds, at one moment."""

    version: int
    session_id: str
    read_at: datetime
    runners: tuple[HeldRunner, ...]
    executions: tuple[HeldExecution, ...]
    wanted_catalogues: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionSpec:
    """What to execute."""

    prompt_id: str
    graph_json: bytes
    extra_data_json: bytes
    inputs: tuple[RunInput, ...]
    output_prefix: str
    cache_salt: str
    """Empty: no other team's runs meet this one."""
    max_output_bytes: int
    warm_key: str

    @property
    def size_bytes(self) -> int:
        """Roughly what it adds to a message."""
        return len(self.graph_json) + len(self.extra_data_json) + 300 * len(self.inputs)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileToken:
    """The bearer token of one execution at the file room."""

    text: str
    expires_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class DesiredExecution:
    """One execution as it should be."""

    held: HeldExecution
    action: Action
    order: int
    preview: bool
    timeout_left: timedelta
    token: FileToken
    token_left: timedelta
    spec: ExecutionSpec | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DesiredState:
    """Everything as it should be at one dispatcher."""

    version: int
    runners: tuple[HeldRunner, ...]
    executions: tuple[DesiredExecution, ...]
    wanted_catalogues: tuple[str, ...]
    complete: bool
    """False: specs are left out for their size, and follow once the dispatcher lists the others."""


def prompt_id(run_id: str, attempt: int) -> str:
    """The id under which an attempt is submitted: always the same, so that a second submission is harmless."""
    return str(uuid5(_PROMPT_SPACE, f"{run_id}/{attempt}"))


def order_of(held: HeldExecution) -> int:
    """Its place among the executions of its runner: microseconds of its assignment, which no two share there."""
    return int(held.assigned_at.timestamp() * 1_000_000)


def actions(holding: Holding) -> Mapping[tuple[str, int], Action]:
    """What to do with each: the first of each runner execute, and what is short enough follows them closely."""
    chosen: dict[tuple[str, int], Action] = {}
    work: dict[str, timedelta] = {}
    idle = {runner.runner_id: runner.execution_slots for runner in holding.runners}
    for held in sorted(holding.executions, key=order_of):
        before = work.get(held.runner_id, timedelta())
        if held.cancel_requested:
            chosen[held.key] = Action.CANCEL
            continue
        if held.recalled and held.state is RunState.DISPATCHED:
            chosen[held.key] = Action.RECALL
            continue
        is_first = idle.get(held.runner_id, 0) > 0
        may_enter = is_first or before < SHORT_WORK or held.submitted or held.state is RunState.RUNNING
        chosen[held.key] = Action.RUN if may_enter else Action.STAGE
        idle[held.runner_id] = idle.get(held.runner_id, 0) - 1
        work[held.runner_id] = before + (UNKNOWN_WORK if held.predicted is None else held.predicted)
    return chosen


def timeout_left(held: HeldExecution, now: datetime) -> timedelta:
    """How long it may still execute; all of its timeout while it has not begun."""
    if held.started_at is None:
        return held.timeout
    return max(held.timeout - (now - held.started_at), timedelta())


def desired_state(
    holding: Holding,
    *,
    listed: frozenset[tuple[str, int]],
    specs: Mapping[tuple[str, int], ExecutionSpec],
    token: Callable[[HeldExecution], FileToken],
    preview_wanted: Callable[[str], bool],
) -> DesiredState:
    """The message for a dispatcher whose last CurrentState listed the executions `listed`."""
    chosen, spent, complete = actions(holding), 0, True
    executions: list[DesiredExecution] = []
    for held in sorted(holding.executions, key=order_of):
        spec = None if held.key in listed else specs.get(held.key)
        if spec is not None:
            if spent and spent + spec.size_bytes > MAX_SPEC_BYTES:
                spec, complete = None, False
            else:
                spent += spec.size_bytes
        file_token = token(held)
        executions.append(
            DesiredExecution(
                held=held,
                action=chosen[held.key],
                order=order_of(held),
                preview=preview_wanted(held.run_id),
                timeout_left=timeout_left(held, holding.read_at),
                token=file_token,
                token_left=max(file_token.expires_at - holding.read_at, timedelta()),
                spec=spec,
            )
        )
    return DesiredState(
        version=holding.version,
        runners=holding.runners,
        executions=tuple(executions),
        wanted_catalogues=holding.wanted_catalogues,
        complete=complete,
    )
