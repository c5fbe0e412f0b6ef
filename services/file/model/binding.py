"""Files bound to a run as its inputs."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.common.errors import Violation
from services.file.model.file import File

FILE_NOT_FOUND = "FILE_NOT_FOUND"
FILE_TYPE_MISMATCH = "FILE_TYPE_MISMATCH"


@dataclass(frozen=True, kw_only=True)
class WantedFile:
    """A file that a run wants to read, and the rule that it must meet."""

    file_id: str
    accept: tuple[str, ...] = ()
    """MIME patterns, such as `image/*`; empty: any."""
    field: str = ""
    """The request's field that named it."""


def accepts(patterns: Sequence[str], media_type: str) -> bool:
    """Whether one of the MIME `patterns` admits `media_type`; none at all admits everything."""
    if not patterns:
        return True
    kind = media_type.partition("/")[0]
    return any(pattern.strip().lower() in ("*", "*/*", f"{kind}/*", media_type) for pattern in patterns)


def violation_of(wanted: WantedFile, file: File | None) -> Violation | None:
    """Why `file`, found under the wanted id, cannot be that input; None: it can."""
    if file is None:
        return Violation(wanted.field, FILE_NOT_FOUND, "Give the id of a file of your team that still exists.")
    if not accepts(wanted.accept, file.media_type):
        message = f"Give a file of type {' or '.join(wanted.accept)}; this one is {file.media_type}."
        return Violation(wanted.field, FILE_TYPE_MISMATCH, message)
    return None
