"""Runners: backends as the fleet sees them, and who drives them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

MAX_AHEAD_SLOTS = 8
"""Most executions that a runner holds beside the executing one (EXECUTION A18)."""


class RunnerScope(StrEnum):
    """Whom a runner serves."""

    TEAM = "TEAM"
    COMMUNITY = "COMMUNITY"
    FLEET = "FLEET"


class RunnerHealth(StrEnum):
    """Whether a runner can execute."""

    UNKNOWN = "UNKNOWN"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    OFFLINE = "OFFLINE"


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """Whose dispatcher it is, as its credential says."""

    team_id: str | None
    """None: the installation's, whose runners serve every team."""
    credential_id: str

    def scope(self, *, community: bool) -> RunnerScope:
        """Whom its runners serve; `community`: they say that others may use them."""
        if self.team_id is None:
            return RunnerScope.FLEET
        return RunnerScope.COMMUNITY if community else RunnerScope.TEAM

    def key_of(self, name: str) -> str:
        """The fleet's own id of this owner's dispatcher `name`: no other owner can arrive at it."""
        return sha256(f"{self.team_id or ''}\n{name}".encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """One device of a backend."""

    name: str
    type: str
    memory_total_bytes: int
    memory_free_bytes: int

    def to_json(self) -> dict[str, Any]:
        """The device as it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Device":
        """The device that `to_json` wrote."""
        return cls(**stored)


@dataclass(frozen=True, kw_only=True, slots=True)
class Runner:
    """The record of a runner."""

    id: str
    team_id: str | None
    scope: RunnerScope
    local_key: str
    dispatcher_name: str
    runtime: str
    tags: tuple[str, ...]
    region: str
    health: RunnerHealth
    health_reason: str
    enabled: bool
    draining: bool
    capabilities_hash: str
    """Empty: not known yet."""
    devices: tuple[Device, ...]
    run_ids: tuple[str, ...]
    """The runs that it has, the executing one first."""
    last_seen_at: datetime
    create_time: datetime
    backend_version: str
    foreign_prompts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseTerms:
    """The times of Synchronize."""

    lease: timedelta
    """After so long without renewal a runner is given to others."""

    @property
    def renewal(self) -> timedelta:
        """How often the lease is renewed: one UPDATE per dispatcher each time."""
        return self.lease / 3
