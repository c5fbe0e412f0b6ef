"""A file's record, and where its bytes are."""

from dataclasses import dataclass
from datetime import datetime, timedelta

PROVISIONAL_FOR = timedelta(minutes=15)
"""How long an unbound provisional file lives, and a binding of a run that nobody knows."""
INLINE_BYTES = 64 * 1024
"""Contents up to this size live in the database, beside the record: one commit instead of a file (EXECUTION D)."""
CHUNK_BYTES = 256 * 1024
"""Bytes in one message of a stream, and the most that PutFile takes."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Which output of which execution a file is."""

    run_id: str
    attempt: int
    node_id: str
    key: str
    position: int


@dataclass(frozen=True, kw_only=True)
class File:
    """The record of immutable bytes, as its team sees it."""

    id: str
    team_id: str
    file_name: str
    media_type: str
    size_bytes: int
    sha256: str
    blake3: str
    created_at: datetime
    expires_at: datetime | None = None
    """When it goes. None: when it is deleted."""
    origin: Origin | None = None
    provisional: bool = False


@dataclass(frozen=True, kw_only=True)
class Content:
    """Where the bytes of a hash are: in the row itself or in a blob. Exactly one is set."""

    body: bytes | None = None
    blob_key: str | None = None


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A record with the place of its bytes."""

    file: File
    content: Content


@dataclass(frozen=True, kw_only=True)
class Digest:
    """What is known of bytes once all of them have passed."""

    size_bytes: int
    sha256: str
    blake3: str
