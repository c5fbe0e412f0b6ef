"""Tables of the access room."""

from datetime import datetime

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, String
from sqlmodel import Field, SQLModel

from services.common.sql import TableRegistry, UtcDateTime
from services.common.sql.outbox import outbox_table

tables = TableRegistry()


class AccessTable(SQLModel, registry=tables):
    """Parent of this room's rows."""


class TeamRow(AccessTable, table=True):
    """A team."""

    __tablename__ = "team"

    id: str = Field(primary_key=True, max_length=36)
    name: str = Field(unique=True, max_length=63)
    display_name: str
    created_at: datetime = Field(sa_type=UtcDateTime)


class CredentialRow(AccessTable, table=True):
    """A credential; its secret is here as a hash only."""

    __tablename__ = "credential"
    __table_args__ = (Index(None, "team_id", "id"),)

    id: str = Field(primary_key=True, max_length=36)
    public_id: str = Field(unique=True, max_length=16)
    secret_digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    kind: str = Field(max_length=16)
    team_id: str | None = Field(sa_column=Column(String(36), ForeignKey("team.id"), nullable=True))
    display_name: str
    prefix: str = Field(max_length=32)
    scopes: str
    """Sorted, with spaces between."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class RequestRow(AccessTable, table=True):
    """A create that was answered, so that its replay is."""

    __tablename__ = "request"

    maker: str = Field(primary_key=True, max_length=36)
    request_id: str = Field(primary_key=True, max_length=128)
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    object_id: str = Field(max_length=36)
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)


OUTBOX = outbox_table(tables.metadata)
