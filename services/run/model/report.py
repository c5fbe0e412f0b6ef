"""What a dispatcher says is (CurrentState): its runners and its executions."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from services.run.model.error import RunError
from services.run.model.progress import RunProgress
from services.run.model.runner import Device, RunnerHealth


class Outcome(StrEnum):
    """How an execution ended."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"
    REJECTED_HERE = "REJECTED_HERE"
    INVALID = "INVALID"
    TIMED_OUT = "TIMED_OUT"
    LOST = "LOST"
    OUTPUT_LOST = "OUTPUT_LOST"
    RECALLED = "RECALLED"
    HANDED_BACK = "HANDED_BACK"
    LAPSED = "LAPSED"
    """Only the room's own: nobody confirmed it for a lease. It may still be reported (EXECUTION A5)."""


class Phase(StrEnum):
    """Where an execution is."""

    STAGING = "STAGING"
    WAITING = "WAITING"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputReport:
    """One output that the dispatcher has stored."""

    ordinal: int
    """Place among the outputs of the execution, from 0, without gaps."""
    node_id: str
    key: str
    position: int
    file_id: str
    sha256: str
    size_bytes: int
    media_type: str
    file_name: str
    kind: str
    cached: bool

    @property
    def place(self) -> tuple[str, str, int]:
        """What it is in its attempt, whatever its ordinal: node, key, position."""
        return self.node_id, self.key, self.position


@dataclass(frozen=True, kw_only=True, slots=True)
class Finish:
    """How an execution ended, and why."""

    outcome: Outcome
    error: RunError | None = None
    execution: timedelta = timedelta()
    """How long the backend executed it; zero: it did not begin."""
    missing_capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionReport:
    """One execution as its dispatcher sees it."""

    run_id: str
    attempt: int
    runner_id: str
    epoch: int
    phase: Phase
    observed_age: timedelta = timedelta()
    """How long ago the backend last confirmed it."""
    outputs_count: int = 0
    outputs: tuple[OutputReport, ...] = ()
    submitted: bool = False
    """Whether it is, or was, in the backend's own queue."""
    elapsed: timedelta = timedelta()
    progress: RunProgress | None = None
    finish: Finish | None = None
    orphan: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """Run and attempt."""
        return self.run_id, self.attempt


@dataclass(frozen=True, kw_only=True, slots=True)
class RunnerReport:
    """One backend as its dispatcher sees it."""

    local_key: str
    runner_id: str = ""
    epoch: int = 0
    runtime: str = "comfyui"
    tags: tuple[str, ...] = ()
    region: str = ""
    community: bool = False
    health: RunnerHealth = RunnerHealth.HEALTHY
    health_reason: str = ""
    recovered: bool = True
    backend_incarnation: str = ""
    backend_version: str = ""
    capabilities_hash: str = ""
    devices: tuple[Device, ...] = ()
    execution_slots: int = 1
    ahead_slots: int = 0
    foreign_prompts: int = 0
    reaping_prompt_ids: tuple[str, ...] = ()
    warm_keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class StateReport:
    """Everything that one dispatcher has."""

    dispatcher_id: str
    session_id: str
    message_number: int = 0
    applied_version: int = 0
    software: str = ""
    features: frozenset[str] = frozenset()
    draining: bool = False
    runners: tuple[RunnerReport, ...] = ()
    executions: tuple[ExecutionReport, ...] = field(default=())
