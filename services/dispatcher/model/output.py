"""Outputs of an execution: where they stand, and what became of them in the file room."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OutputPlace:
    """The one place of an output inside an attempt; with run and attempt its idempotency key (EXECUTION A14)."""

    node_id: str
    key: str
    """Key in the node's output, such as `images`."""
    position: int
    """Place in that key's list, from 0."""


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """What the file room answered for stored bytes."""

    file_id: str
    sha256: str
    size_bytes: int
    media_type: str


@dataclass(frozen=True, kw_only=True)
class Output:
    """One stored output."""

    ordinal: int
    """Place among the outputs of the execution, from 0, without gaps, in the order in which they were found."""
    place: OutputPlace
    file: StoredFile
    file_name: str
    """Name that the backend gave it."""
    kind: str
    """`output`, `temp`, `text`, `value` or `frame`."""
    cached: bool = False
    """True: the backend had it from an earlier prompt."""


@dataclass(frozen=True, kw_only=True)
class OutputHeader:
    """What is known of an output before its bytes are stored."""

    run_id: str
    attempt: int
    place: OutputPlace
    file_name: str
    media_type: str
