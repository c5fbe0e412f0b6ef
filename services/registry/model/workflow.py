"""Workflows and their versions."""

from dataclasses import dataclass
from datetime import datetime

from services.common.parameters import OutputDefinition, Parameter


@dataclass(frozen=True, kw_only=True)
class WorkflowVersion:
    """One immutable version of a workflow."""

    number: int
    create_time: datetime
    note: str
    content_hash: str
    """SHA-256, in hex, of graph, parameters and outputs."""
    graph: bytes | None
    """Canonical JSON; None where it was not asked for."""
    parameters: tuple[Parameter, ...]
    outputs: tuple[OutputDefinition, ...]
    """None: every output node."""
    parameters_discovered: bool
    node_classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """A named graph of a team, with one of its versions."""

    id: str
    team_id: str
    team_name: str
    slug: str
    display_name: str
    description: str
    tags: tuple[str, ...]
    create_time: datetime
    update_time: datetime
    latest_version: int
    deleted: bool
    version: WorkflowVersion
