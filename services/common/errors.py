"""The kinds of error that a room may raise, free of any transport.

A domain error is a kind (its class), an `UPPER_SNAKE` reason, a sentence saying what would work, and metadata.
`services.common.status` maps kinds to gRPC codes; no other place does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Violation:
    """One thing wrong with one field of a request."""

    field: str
    """Path of the field as the caller wrote it: `parameters.seed`, `graph_json`."""
    reason: str
    """UPPER_SNAKE, stable."""
    message: str
    """One sentence that says what would be accepted."""


class DomainError(Exception):
    """An expected refusal or failure; never raised itself, only its kinds."""

    def __init__(self, message: str, *, reason: str, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata: dict[str, str] = dict(metadata or {})


class InvalidArgument(DomainError):
    """The request is wrong whatever the state of the fleet; carries every violation at once."""

    def __init__(
        self,
        message: str | None = None,
        *,
        violations: Sequence[Violation] = (),
        reason: str = "INVALID_FIELDS",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message or _summary(violations), reason=reason, metadata=metadata)
        self.violations: tuple[Violation, ...] = tuple(violations)


class Unauthenticated(DomainError):
    """No credential, or one that is unknown, expired or revoked."""


class PermissionDenied(DomainError):
    """The caller is known and may not do this."""


class NotFound(DomainError):
    """No such object, or another team's: the caller cannot tell which."""


class AlreadyExists(DomainError):
    """A unique name or request id is taken by something else."""


class FailedPrecondition(DomainError):
    """The request would be right in another state of its object."""


class Aborted(DomainError):
    """Somebody else was faster: read again, then retry the whole sequence."""


class OutOfRange(DomainError):
    """A position past the end, such as a byte range."""


class ResourceExhausted(DomainError):
    """A limit is reached; `retry_after` says when to come back, None when waiting does not help."""

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        retry_after: timedelta | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after = retry_after


class Unavailable(DomainError):
    """Something needed is away for a moment: the same request may be sent again."""

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        retry_after: timedelta | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after = retry_after


class DeadlineExceeded(DomainError):
    """The caller's time was up before the answer."""


class DataLoss(DomainError):
    """Stored bytes are missing or damaged."""


def _summary(violations: Sequence[Violation]) -> str:
    if not violations:
        return "The request is invalid."
    first = f"{violations[0].field}: {violations[0].message}"
    return first if len(violations) == 1 else f"{first} (and {len(violations) - 1} more)"
