"""One backend as the dispatcher reports it."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum


class Health(Enum):
    """Whether a backend can execute; the names are the contract's."""

    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    OFFLINE = "OFFLINE"


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device of a backend; memory in bytes."""

    name: str
    type: str
    memory_total_bytes: int
    memory_free_bytes: int


@dataclass(frozen=True, kw_only=True)
class BackendState:
    """What a driver knows of its backend."""

    health: Health
    health_reason: str = ""
    recovered: bool = False
    """Its queue and then its history were read since it was last out of reach (A6)."""
    incarnation: str = ""
    """Changes whenever the backend lost its memory."""
    observed_age: timedelta
    """How long ago its own task last had an answer from it (A4)."""
    capabilities_hash: str = ""
    version: str = ""
    devices: tuple[Device, ...] = ()
    warm_models: tuple[str, ...] = ()
    """Model files that it used last, the newest first."""
    foreign_prompts: int = 0
    reaping: tuple[str, ...] = ()
    """Prompt ids that are being removed."""


@dataclass(frozen=True, kw_only=True)
class RunnerReport:
    """One backend in a CurrentState."""

    local_key: str
    runner_id: str
    epoch: int
    runtime: str
    url: str
    state: BackendState
    warm_keys: tuple[str, ...] = ()
