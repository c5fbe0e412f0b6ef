"""What the file room tells the others."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class FactType(StrEnum):
    """What happened to a file."""

    FILE_STORED = "FILE_STORED"
    FILE_DELETED = "FILE_DELETED"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One fact, told at least once."""

    id: str
    type: FactType
    at: datetime
    team_id: str
    file_id: str
    sha256: str
    size_bytes: int
    origin_run_id: str | None
    request_id: str | None
    """Of the call that caused it; None: none did."""


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """When a change is made, and by which call."""

    at: datetime
    request_id: str | None = None
