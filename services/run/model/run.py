"""A run: one execution of a workflow version, or of an inline graph."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from services.run.model.error import RunError
from services.run.model.output import RunOutput
from services.run.model.progress import RunProgress
from services.run.model.state import RunState

DEFAULT_RUNTIME = "comfyui"


class TagMatch(StrEnum):
    """How a run's tags are matched with a runner's."""

    ALL = "ALL"
    ALL_OR_UNTAGGED = "ALL_OR_UNTAGGED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The record of a run, without what stands in rows beside it."""

    id: str
    team_id: str
    credential_id: str
    workflow_id: str | None
    """None: an inline graph."""
    workflow_version: int
    """0: an inline graph."""
    workflow_slug: str
    request_id: str
    state: RunState
    sequence: int
    """Count of its events."""
    attempt: int
    """Number of the current or last attempt, from 1; 0: none yet."""
    blamed_attempts: int
    max_attempts: int
    retry_on_lost: bool
    class_id: str
    """Class of its hard requirements (EXECUTION B1)."""
    priority: int
    timeout: timedelta
    create_time: datetime
    change_time: datetime
    """When its row last changed: the cursor of those who watch many runs."""
    queued_at: datetime
    queue_deadline: datetime | None
    """None: it may wait for ever."""
    dispatched_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    expire_time: datetime | None
    cancel_requested_at: datetime | None
    runner_id: str | None
    """Runner of the current or last attempt."""
    error: RunError | None
    claimed_until: datetime | None
    display_name: str
    labels: Mapping[str, str]
    metadata_json: bytes
    client_ref: str
    group_name: str
    origin: str
    runtime: str
    tags: tuple[str, ...]
    tag_match: TagMatch
    delete_inputs_at_end: bool
    public_url: str
    input_file_ids: tuple[str, ...]

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody asked that it stop."""
        return self.cancel_requested_at is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunInput:
    """One file that a run's graph reads, and where its name stands in the graph."""

    node_id: str
    path: str
    """Name of the node's input, or a path into a structured literal with `.` between its steps."""
    file_id: str
    sha256: str
    size_bytes: int
    file_name: str
    mask: bool = False
    position: int | None = None
    """Place in a list input, from 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpec:
    """What a run executes: big, written once, apart from the record."""

    run_id: str
    graph_json: bytes
    """Canonical JSON, placed and final but for the names of files at the backend."""
    parameters_json: bytes
    overrides_json: bytes
    extra_data_json: bytes
    """Empty: none."""
    inputs: tuple[RunInput, ...]
    output_keys: Mapping[str, str]
    """Key of the output definition by node id; see `output_name`."""
    warm_key: str
    """What a runner that executed it has warm: hash of the workflow version, or of the inline graph."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSnapshot:
    """A run with what answers need beside its record, all read at one moment."""

    run: Run
    outputs: tuple[RunOutput, ...] = ()
    """Of its current or last attempt, by ordinal; whether they are partial, `run.state` tells (EXECUTION C3)."""
    progress: RunProgress | None = None
    spec: RunSpec | None = field(default=None)
    """Only where it was asked for."""
