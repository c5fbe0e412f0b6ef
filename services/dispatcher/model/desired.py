"""What should be, at this dispatcher, as the run room says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum


class Action(Enum):
    """What to do with an execution; the names are the contract's."""

    NONE = "NONE"
    RUN = "RUN"
    STAGE = "STAGE"
    CANCEL = "CANCEL"
    RECALL = "RECALL"


@dataclass(frozen=True, kw_only=True)
class ExecutionKey:
    """Names one try of one run."""

    run_id: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class ExecutionInput:
    """One file that a graph reads."""

    node_id: str
    path: str
    """Name of the node's input whose value is replaced, or a path with `.`."""
    file_id: str
    sha256: str
    size_bytes: int
    file_name: str
    mask: bool = False
    """True: a mask for the picture that the same node reads."""
    position: int | None = None
    """Place in a list input; None: the input is not a list."""


@dataclass(frozen=True, kw_only=True)
class ExecutionSpec:
    """What to execute."""

    prompt_id: str
    """Derived from run and attempt, so that a second submission is harmless (A7)."""
    graph_json: bytes = field(repr=False)
    extra_data_json: bytes = field(default=b"", repr=False)
    inputs: tuple[ExecutionInput, ...] = ()
    output_prefix: str = ""
    cache_salt: str = ""
    max_output_bytes: int = 0
    """Most bytes of outputs in all; 0: no limit."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """For `extra_data`; in no log."""
    warm_key: str = ""


@dataclass(frozen=True, kw_only=True)
class DesiredExecution:
    """One execution as it should be."""

    key: ExecutionKey
    runner_id: str
    epoch: int
    action: Action
    order: int = 0
    submitted: bool = False
    """True: it was reported as submitted before; if the backend has not got it, it is lost."""
    preview: bool = False
    outputs_acknowledged: int = 0
    timeout_left: timedelta | None = None
    """How long it may execute, from its start at the backend; None: for ever."""
    file_token: str = field(default="", repr=False)
    spec: ExecutionSpec | None = None


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Address of a backend that was registered instead of configured."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class DesiredRunner:
    """One backend as it should be."""

    runner_id: str
    local_key: str
    epoch: int
    enabled: bool = True
    drain: bool = False
    endpoint: Endpoint | None = None


@dataclass(frozen=True, kw_only=True)
class Desired:
    """Everything that should be; complete."""

    version: int
    runners: tuple[DesiredRunner, ...] = ()
    executions: tuple[DesiredExecution, ...] = ()
    wanted_catalogues: tuple[str, ...] = ()
    drain: bool = False
    heartbeat: timedelta | None = None
    lease: timedelta | None = None
    file_endpoint: str = ""
    fleet_id: str = ""
