"""The file room's rows."""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, String, UniqueConstraint, text
from sqlmodel import BigInteger, Field, SQLModel

from services.common.sql import TableRegistry, UtcDateTime

tables = TableRegistry()


def _where(sqlite: str, postgresql: str) -> dict[str, Any]:
    """The condition of a partial index, worded as each database writes it in queries: else it is not used."""
    return {"sqlite_where": text(sqlite), "postgresql_where": text(postgresql)}


class FileTable(SQLModel, registry=tables):
    """Tables of the file room."""


class ContentRow(FileTable, table=True):
    """Bytes, once per hash, for as long as a record has them."""

    __tablename__ = "content"

    sha256: str = Field(primary_key=True)
    blake3: str
    size_bytes: int = Field(sa_type=BigInteger)
    body: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    """The bytes themselves, where they are few; else `blob_key` is set."""
    blob_key: str | None = Field(default=None, unique=True)


class FileRow(FileTable, table=True):
    """A team's record of some bytes."""

    __tablename__ = "file"
    __table_args__ = (
        UniqueConstraint("team_id", "request_id", name="uq_file_request"),
        UniqueConstraint(
            "origin_run_id", "origin_attempt", "origin_node_id", "origin_key", "origin_position", name="uq_file_output"
        ),
        Index("ix_file_team_created", "team_id", "created_at", "id"),
        Index("ix_file_expiring", "expires_at", **_where("expires_at IS NOT NULL", "expires_at IS NOT NULL")),
        Index("ix_file_unsettled", "origin_run_id", **_where("settled = 0", "NOT settled")),
    )

    id: str = Field(primary_key=True)
    team_id: str
    file_name: str
    media_type: str
    size_bytes: int = Field(sa_type=BigInteger)
    sha256: str = Field(sa_column=Column(String, ForeignKey("content.sha256"), nullable=False, index=True))
    blake3: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    provisional: bool
    """Goes at `expires_at`."""
    born_provisional: bool
    """Was provisional and no run that took it has ended yet: it goes again if that run never comes to be."""
    request_id: str | None = None
    request_hash: str
    origin_run_id: str | None = None
    origin_attempt: int | None = None
    origin_node_id: str | None = None
    origin_key: str | None = None
    origin_position: int | None = None
    settled: bool
    """False: an output of a run that was not seen to end, which may turn out to be an orphan."""


class BindingRow(FileTable, table=True):
    """A file that a run reads, until that run has ended."""

    __tablename__ = "binding"

    run_id: str = Field(primary_key=True)
    file_id: str = Field(sa_column=Column(String, ForeignKey("file.id"), primary_key=True, index=True))
    bound_at: datetime = Field(sa_type=UtcDateTime)
    delete_at_end: bool


class FactRow(FileTable, table=True):
    """A fact for other rooms; gone once it is published."""

    __tablename__ = "fact"

    id: str = Field(primary_key=True)
    """UUIDv7: the order of publishing."""
    type: str
    """A value of `FactType`."""
    at: datetime = Field(sa_type=UtcDateTime)
    team_id: str
    file_id: str
    sha256: str
    size_bytes: int = Field(sa_type=BigInteger)
    origin_run_id: str | None = None
    request_id: str | None = None
    """Of the call that caused it."""


CONTENT = tables.metadata.tables["content"]
FILE = tables.metadata.tables["file"]
BINDING = tables.metadata.tables["binding"]
FACT = tables.metadata.tables["fact"]
