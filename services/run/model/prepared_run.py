"""A run that is ready to be made durable."""

from dataclasses import dataclass

from services.run.model.requirements import Requirements
from services.run.model.run import Run, RunSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedRun:
    """All that the creating transaction writes."""

    run: Run
    """QUEUED, with one event reserved."""
    spec: RunSpec
    requirements: Requirements
    request_hash: bytes | None
    """None: the request has no id, and no replay is recognised."""
    require_runner: bool
    refuse_duplicate: bool
