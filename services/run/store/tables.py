"""Rows of the run room (EXECUTION C).

Row classes say what stands in the database; units of work use the Core tables at the end, since building ORM objects
costs more than the statements themselves. JSON columns hold small objects that are ours; what ComfyUI or a caller
owns stands as canonical bytes.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from services.common.sql import TableRegistry, UtcDateTime

tables = TableRegistry()


class RoomTable(SQLModel, registry=tables):
    """Parent of the run room's row classes."""


def _where(condition: str) -> dict[str, Any]:
    """A partial index, on both dialects."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


class RunRow(RoomTable, table=True):
    """A run; small, since every guarded UPDATE writes the whole row anew."""

    __tablename__ = "run"
    __table_args__ = (
        # Heads of (class, team) lists (EXECUTION B1).
        Index("ix_run_queue", "class_id", "team_id", "precedence", "queued_at", **_where("state = 'QUEUED'")),
        Index("ix_run_team", "team_id", "id"),
        Index("ix_run_changed", "team_id", "change_time"),
        Index("ix_run_runner", "runner_id", **_where("state IN ('DISPATCHED', 'RUNNING')")),
        Index("ix_run_queue_deadline", "queue_deadline", **_where("state IN ('ACCEPTED', 'QUEUED')")),
    )

    id: str = Field(primary_key=True)
    team_id: str
    credential_id: str
    workflow_id: str | None
    workflow_version: int = Field(sa_type=BigInteger)
    workflow_slug: str
    request_id: str
    state: str
    sequence: int = Field(sa_type=BigInteger)
    attempt: int
    blamed_attempts: int
    max_attempts: int
    retry_on_lost: bool
    class_id: str
    priority: int
    precedence: int
    """Minus `priority`: the index of the queue ascends in all of its columns, or Alembic could not compare it."""
    timeout_ms: int = Field(sa_type=BigInteger)
    create_time: datetime = Field(sa_type=UtcDateTime)
    change_time: datetime = Field(sa_type=UtcDateTime)
    queued_at: datetime = Field(sa_type=UtcDateTime)
    queue_deadline: datetime | None = Field(sa_type=UtcDateTime)
    dispatched_at: datetime | None = Field(sa_type=UtcDateTime)
    started_at: datetime | None = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(sa_type=UtcDateTime)
    expire_time: datetime | None = Field(sa_type=UtcDateTime)
    cancel_requested_at: datetime | None = Field(sa_type=UtcDateTime)
    runner_id: str | None
    error: dict[str, Any] | None = Field(sa_type=JSON)
    claimed_until: datetime | None = Field(sa_type=UtcDateTime)
    display_name: str
    labels: dict[str, str] = Field(sa_type=JSON)
    metadata_json: bytes = Field(sa_type=LargeBinary)
    client_ref: str
    group_name: str
    origin: str
    runtime: str
    tags: list[str] = Field(sa_type=JSON)
    tag_match: str
    delete_inputs_at_end: bool
    public_url: str
    input_file_ids: list[str] = Field(sa_type=JSON)


class RunSpecRow(RoomTable, table=True):
    """What a run executes: apart, so that guarded UPDATEs never rewrite it."""

    __tablename__ = "run_spec"

    run_id: str = Field(primary_key=True)
    graph_json: bytes = Field(sa_type=LargeBinary)
    parameters_json: bytes = Field(sa_type=LargeBinary)
    overrides_json: bytes = Field(sa_type=LargeBinary)
    extra_data_json: bytes = Field(sa_type=LargeBinary)
    inputs: list[dict[str, Any]] = Field(sa_type=JSON)
    output_keys: dict[str, str] = Field(sa_type=JSON)
    warm_key: str


class RunSecretRow(RoomTable, table=True):
    """A sealed secret of a run; deleted in the terminal transaction (EXECUTION A13)."""

    __tablename__ = "run_secret"

    run_id: str = Field(primary_key=True)
    sealed: bytes = Field(sa_type=LargeBinary)
    key_id: str


class IdempotencyRow(RoomTable, table=True):
    """A request that made a run; outlives the run (EXECUTION C6)."""

    __tablename__ = "idempotency"
    __table_args__ = (Index("ix_idempotency_create_time", "create_time"),)

    team_id: str = Field(primary_key=True)
    request_id: str = Field(primary_key=True)
    request_hash: bytes = Field(sa_type=LargeBinary)
    run_id: str
    create_time: datetime = Field(sa_type=UtcDateTime)


class RunAttemptRow(RoomTable, table=True):
    """One try of a run on one runner."""

    __tablename__ = "run_attempt"

    run_id: str = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    runner_id: str
    epoch: int = Field(sa_type=BigInteger)
    assigned_at: datetime = Field(sa_type=UtcDateTime)
    submitted_at: datetime | None = Field(sa_type=UtcDateTime)
    started_at: datetime | None = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(sa_type=UtcDateTime)
    outcome: str | None
    error: dict[str, Any] | None = Field(sa_type=JSON)
    execution_ms: int | None = Field(sa_type=BigInteger)
    predicted_ms: int | None = Field(sa_type=BigInteger)


class RunOutputRow(RoomTable, table=True):
    """One stored output of one attempt."""

    __tablename__ = "run_output"
    __table_args__ = (UniqueConstraint("run_id", "attempt", "node_id", "key", "position"),)

    run_id: str = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    ordinal: int = Field(primary_key=True)
    name: str
    node_id: str
    key: str
    position: int
    file_id: str
    sha256: str
    size_bytes: int = Field(sa_type=BigInteger)
    media_type: str
    file_name: str
    kind: str
    cached: bool


class RunEventRow(RoomTable, table=True):
    """One event of a run's log, which is the outbox too (EXECUTION C2)."""

    __tablename__ = "run_event"
    __table_args__ = (Index("ix_run_event_unpublished", "at", "run_id", "sequence", **_where("published_at IS NULL")),)

    run_id: str = Field(primary_key=True)
    sequence: int = Field(primary_key=True, sa_type=BigInteger)
    type: str
    attempt: int
    body: dict[str, Any] = Field(sa_type=JSON)
    at: datetime = Field(sa_type=UtcDateTime)
    published_at: datetime | None = Field(sa_type=UtcDateTime)


class RunProgressRow(RoomTable, table=True):
    """The last known progress of a run, at most a second old."""

    __tablename__ = "run_progress"

    run_id: str = Field(primary_key=True)
    body: dict[str, Any] = Field(sa_type=JSON)
    at: datetime = Field(sa_type=UtcDateTime)


class ClassRow(RoomTable, table=True):
    """Hard requirements that runs share; the id is their hash (EXECUTION B1)."""

    __tablename__ = "class"

    id: str = Field(primary_key=True)
    requirements: dict[str, Any] = Field(sa_type=JSON)
    create_time: datetime = Field(sa_type=UtcDateTime)


class TeamShareRow(RoomTable, table=True):
    """What a team has had of the fleet, and has waiting and active (EXECUTION B3)."""

    __tablename__ = "team_share"

    team_id: str = Field(primary_key=True)
    virtual_seconds: float
    queued: int
    active: int


class DispatcherRow(RoomTable, table=True):
    """A dispatcher and the version of what it should do (EXECUTION A3)."""

    __tablename__ = "dispatcher"

    id: str = Field(primary_key=True)
    """Hash of owner and `name`, so that no team can speak for another's dispatcher."""
    name: str
    """The id that it gave itself."""
    credential_id: str
    team_id: str | None
    session_id: str
    past_session_ids: list[str] = Field(sa_type=JSON)
    """The last few sessions before this one: they may not come back."""
    replica: str
    """Who holds its stream; empty: nobody."""
    version: int = Field(sa_type=BigInteger)
    lease_expires_at: datetime = Field(sa_type=UtcDateTime)
    draining: bool
    software: str
    last_seen_at: datetime = Field(sa_type=UtcDateTime)


class RunnerRow(RoomTable, table=True):
    """A backend as the fleet sees it; the lease is on it, under an epoch that grows with each grant (EXECUTION A2)."""

    __tablename__ = "runner"
    __table_args__ = (UniqueConstraint("dispatcher_id", "local_key"),)

    id: str = Field(primary_key=True)
    team_id: str | None
    scope: str
    local_key: str
    dispatcher_id: str
    epoch: int = Field(sa_type=BigInteger)
    runtime: str
    tags: list[str] = Field(sa_type=JSON)
    region: str
    health: str
    health_reason: str
    recovered: bool
    ready: bool
    """Healthy and recovered, and no prompt in its queue that is not a wanted one of ours: it may be given work."""
    enabled: bool
    draining: bool
    failures: int
    capabilities_hash: str
    backend_incarnation: str
    backend_version: str
    devices: list[dict[str, Any]] = Field(sa_type=JSON)
    foreign_prompts: int
    reaping_prompt_ids: list[str] = Field(sa_type=JSON)
    warm_keys: list[str] = Field(sa_type=JSON)
    execution_slots: int
    ahead_slots: int
    missing_capabilities: list[str] = Field(sa_type=JSON)
    create_time: datetime = Field(sa_type=UtcDateTime)
    last_seen_at: datetime = Field(sa_type=UtcDateTime)


class RunnerSlotRow(RoomTable, table=True):
    """One place for a run at a runner: executing, or ahead; `run_id` None: free."""

    __tablename__ = "runner_slot"
    __table_args__ = (UniqueConstraint("run_id"),)

    runner_id: str = Field(primary_key=True)
    slot: int = Field(primary_key=True)
    ahead: bool
    run_id: str | None
    attempt: int
    assigned_at: datetime | None = Field(sa_type=UtcDateTime)
    recalled: bool
    """Whether the run is asked back, unless it executes."""


class CatalogueRow(RoomTable, table=True):
    """A node catalogue under its hash."""

    __tablename__ = "catalogue"

    hash: str = Field(primary_key=True)
    body: bytes = Field(sa_type=LargeBinary)
    """Canonical JSON of `/object_info`, gzipped."""
    node_classes: list[str] = Field(sa_type=JSON)
    model_names: list[str] = Field(sa_type=JSON)
    create_time: datetime = Field(sa_type=UtcDateTime)


class RoomEventRow(RoomTable, table=True):
    """A fact for other rooms that belongs to no run: an outbox beside `run_event`."""

    __tablename__ = "room_event"
    __table_args__ = (Index("ix_room_event_unpublished", "at", "id", **_where("published_at IS NULL")),)

    id: str = Field(primary_key=True)
    team_id: str | None
    """None: it concerns the whole fleet."""
    type: str
    """`RUNNER_CHANGED` or `CATALOGUE_SEEN`."""
    body: dict[str, Any] = Field(sa_type=JSON)
    at: datetime = Field(sa_type=UtcDateTime)
    published_at: datetime | None = Field(sa_type=UtcDateTime)


RUN = tables.metadata.tables["run"]
RUN_SPEC = tables.metadata.tables["run_spec"]
RUN_SECRET = tables.metadata.tables["run_secret"]
IDEMPOTENCY = tables.metadata.tables["idempotency"]
RUN_ATTEMPT = tables.metadata.tables["run_attempt"]
RUN_OUTPUT = tables.metadata.tables["run_output"]
RUN_EVENT = tables.metadata.tables["run_event"]
RUN_PROGRESS = tables.metadata.tables["run_progress"]
CLASS = tables.metadata.tables["class"]
TEAM_SHARE = tables.metadata.tables["team_share"]
DISPATCHER = tables.metadata.tables["dispatcher"]
RUNNER = tables.metadata.tables["runner"]
RUNNER_SLOT = tables.metadata.tables["runner_slot"]
CATALOGUE = tables.metadata.tables["catalogue"]
ROOM_EVENT = tables.metadata.tables["room_event"]
