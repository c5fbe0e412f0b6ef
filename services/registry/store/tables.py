"""The registry's tables."""

from datetime import datetime

from sqlalchemy import JSON, Column, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlmodel import Field, SQLModel

from services.common.sql import TableRegistry, UtcDateTime

tables = TableRegistry()


class RegistryTable(SQLModel, registry=tables):
    """Tables of the registry room."""


class WorkflowRow(RegistryTable, table=True):
    """What may change of a workflow."""

    __tablename__ = "workflow"
    __table_args__ = (
        UniqueConstraint("team_id", "slug"),
        Index("ix_workflow_team_created", "team_id", "create_time", "id"),
        Index("ix_workflow_team_updated", "team_id", "update_time", "id"),
    )

    id: str = Field(primary_key=True)
    team_id: str
    team_name: str
    slug: str
    display_name: str
    description: str
    tags: list[str] = Field(sa_type=JSON)
    create_time: datetime = Field(sa_type=UtcDateTime)
    update_time: datetime = Field(sa_type=UtcDateTime)
    latest_version: int
    delete_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Set: deleted; the slug stays taken."""


class WorkflowVersionRow(RegistryTable, table=True):
    """One version; never updated."""

    __tablename__ = "workflow_version"

    workflow_id: str = Field(sa_column=Column(String, ForeignKey("workflow.id"), primary_key=True))
    number: int = Field(primary_key=True)
    create_time: datetime = Field(sa_type=UtcDateTime)
    note: str
    content_hash: str
    parameters: bytes = Field(sa_type=LargeBinary)
    """Canonical JSON, in bytes so that 64-bit integers stay exact."""
    outputs: bytes = Field(sa_type=LargeBinary)
    parameters_discovered: bool
    node_classes: list[str] = Field(sa_type=JSON)


class WorkflowGraphRow(RegistryTable, table=True):
    """The graph of a version, apart from it: most reads do without."""

    __tablename__ = "workflow_graph"

    workflow_id: str = Field(sa_column=Column(String, ForeignKey("workflow.id"), primary_key=True))
    number: int = Field(primary_key=True)
    graph: bytes = Field(sa_type=LargeBinary)
    """Canonical JSON."""


class WorkflowRequestRow(RegistryTable, table=True):
    """A request that was answered, kept as long as its workflow."""

    __tablename__ = "workflow_request"

    team_id: str = Field(primary_key=True)
    request_id: str = Field(primary_key=True)
    request_hash: str
    workflow_id: str
    version: int
    """The newest when it was answered."""
    create_time: datetime = Field(sa_type=UtcDateTime)


class FactRow(RegistryTable, table=True):
    """A fact for other rooms; gone once it is published."""

    __tablename__ = "fact"

    id: str = Field(primary_key=True)
    """UUIDv7: the order of publishing."""
    type: str
    """A value of `FactType`."""
    time: datetime = Field(sa_type=UtcDateTime)
    team_id: str
    workflow_id: str
    slug: str
    version: int
    request_id: str | None = None
    """Of the call that caused it."""


class CatalogueRow(RegistryTable, table=True):
    """A copy of a node catalogue, whose owner is the run room."""

    __tablename__ = "catalogue"

    hash: str = Field(primary_key=True)
    body: bytes = Field(sa_type=LargeBinary)
    """JSON, gzipped."""
    create_time: datetime = Field(sa_type=UtcDateTime)


WORKFLOW = tables.metadata.tables["workflow"]
WORKFLOW_VERSION = tables.metadata.tables["workflow_version"]
WORKFLOW_GRAPH = tables.metadata.tables["workflow_graph"]
WORKFLOW_REQUEST = tables.metadata.tables["workflow_request"]
FACT = tables.metadata.tables["fact"]
CATALOGUE = tables.metadata.tables["catalogue"]
