"""What the registry tells other rooms."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class FactType(StrEnum):
    """What happened to a workflow."""

    WORKFLOW_VERSION_CREATED = "WORKFLOW_VERSION_CREATED"
    WORKFLOW_DELETED = "WORKFLOW_DELETED"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One fact, told at least once."""

    id: str
    type: FactType
    time: datetime
    team_id: str
    workflow_id: str
    slug: str
    version: int
    """0 for WORKFLOW_DELETED."""
    request_id: str | None
    """Of the call that caused it; None: none did."""


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """When a change is made, and by which call."""

    time: datetime
    request_id: str | None = None
