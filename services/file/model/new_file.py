"""What a sender says of a file before its bytes, and the rules that this must meet."""

import json
import re
from dataclasses import dataclass
from hashlib import sha256

from services.common.errors import InvalidArgument, OutOfRange, Violation
from services.common.ids import is_id
from services.file.model.file import Digest, Origin

MAX_NAME_BYTES = 255
MAX_REQUEST_ID = 128
MAX_ORIGIN_TEXT = 255
DEFAULT_NAME = "file"

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class NewFile:
    """A file that is to be stored."""

    file_name: str = DEFAULT_NAME
    media_type: str = ""
    """Claimed; empty: to be found."""
    size_bytes: int | None = None
    sha256: str | None = None
    provisional: bool = False
    request_id: str | None = None
    origin: Origin | None = None

    def check(self, *, max_file_bytes: int) -> None:
        """InvalidArgument with every violation, or OutOfRange FILE_TOO_LARGE if the declared size is too large."""
        violations = [
            *_text("header.file_name", self.file_name, max_bytes=MAX_NAME_BYTES),
            *_text("header.media_type", self.media_type, max_bytes=MAX_NAME_BYTES),
            *_text("header.request_id", self.request_id or "", max_bytes=MAX_REQUEST_ID),
            *self._declared(),
            *self._origin(),
        ]
        if violations:
            raise InvalidArgument(violations=violations)
        if self.size_bytes is not None:
            check_size(self.size_bytes, max_file_bytes=max_file_bytes)

    def check_bytes(self, digest: Digest) -> None:
        """InvalidArgument if the bytes that came are not those that were declared."""
        violations = []
        if self.size_bytes is not None and digest.size_bytes != self.size_bytes:
            message = f"{self.size_bytes} bytes were declared and {digest.size_bytes} came; send them again."
            violations.append(Violation("header.size_bytes", "SIZE_MISMATCH", message))
        if self.sha256 is not None and digest.sha256 != self.sha256:
            message = f"The bytes that came have the SHA-256 {digest.sha256}; send them again."
            violations.append(Violation("header.sha256", "SHA256_MISMATCH", message))
        if violations:
            raise InvalidArgument(violations=violations)

    def request_hash(self, content_sha256: str) -> str:
        """SHA-256 of the whole request, so that another one under the same `request_id` is recognised."""
        said = [self.file_name, self.media_type, self.provisional, content_sha256]
        return sha256(json.dumps(said).encode()).hexdigest()

    def _declared(self) -> list[Violation]:
        violations = []
        if self.size_bytes is not None and self.size_bytes < 0:
            violations.append(Violation("header.size_bytes", "NEGATIVE", "Give the number of bytes, 0 or more."))
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            violations.append(Violation("header.sha256", "MALFORMED", "Give 64 lower-case hexadecimal digits."))
        return violations

    def _origin(self) -> list[Violation]:
        if self.origin is None:
            return []
        field = "header.origin"
        violations = [
            *_text(f"{field}.node_id", self.origin.node_id, max_bytes=MAX_ORIGIN_TEXT),
            *_text(f"{field}.key", self.origin.key, max_bytes=MAX_ORIGIN_TEXT),
        ]
        if not is_id(self.origin.run_id):
            violations.append(Violation(f"{field}.run_id", "MALFORMED", "Give the id of a run."))
        if self.origin.attempt < 1:
            violations.append(Violation(f"{field}.attempt", "TOO_SMALL", "Attempts are numbered from 1."))
        if self.origin.position < 0:
            violations.append(Violation(f"{field}.position", "NEGATIVE", "Positions are numbered from 0."))
        return violations


def check_size(size_bytes: int, *, max_file_bytes: int) -> None:
    """OutOfRange FILE_TOO_LARGE if so many bytes are more than the installation takes."""
    if size_bytes > max_file_bytes:
        raise OutOfRange(
            f"Files may have up to {max_file_bytes} bytes here.",
            reason="FILE_TOO_LARGE",
            metadata={"max_file_bytes": str(max_file_bytes)},
        )


def _text(field: str, text: str, *, max_bytes: int) -> list[Violation]:
    """Names are any text: they are never used as a path. What no database or terminal could hold is refused."""
    if "\x00" in text:
        return [Violation(field, "NUL", "Leave out the NUL character.")]
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        return [Violation(field, "LONE_SURROGATE", "Give text that can be written as UTF-8.")]
    if length > max_bytes:
        return [Violation(field, "TOO_LONG", f"Give at most {max_bytes} bytes of UTF-8.")]
    return []
