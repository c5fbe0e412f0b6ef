"""Errors as RFC 9457 problems: the one table of kinds and HTTP statuses, and the one place that writes them."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus

import grpc
import orjson
from starlette.responses import Response

from services.common.errors import (
    Aborted,
    AlreadyExists,
    DataLoss,
    DeadlineExceeded,
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Violation,
)
from services.common.status import error_of

PROBLEM_TYPE = "application/problem+json"
CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a caller that went away; nobody reads it but the log."""

STATUSES: dict[type[DomainError], int] = {
    InvalidArgument: 400,
    Unauthenticated: 401,
    PermissionDenied: 403,
    NotFound: 404,
    AlreadyExists: 409,
    Aborted: 409,
    FailedPrecondition: 412,
    OutOfRange: 400,
    ResourceExhausted: 429,
    Unavailable: 503,
    DeadlineExceeded: 504,
    DataLoss: 500,
}

_RETRY_AFTER = timedelta(seconds=1)
_NOT_THE_CALLERS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED)
_JSON_FIELD = re.compile(r"^(\w+)_json\b")
_TEXT_FIELD = re.compile(r"^parameters_text\b")
_HEADER_FIELD = re.compile(r"^header\.")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a caller is told of a failure."""

    status: int
    reason: str
    detail: str
    violations: tuple[Violation, ...] = ()
    metadata: Mapping[str, str] | None = None
    retry_after: timedelta | None = None
    headers: tuple[tuple[str, str], ...] = ()


class HttpError(Exception):
    """A refusal that only HTTP knows: a size, a range, a content type."""

    def __init__(self, status: int, detail: str, *, reason: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.problem = Problem(status=status, reason=reason, detail=detail, headers=headers)


class ClientGone(Exception):
    """The client closed its connection; whatever was begun for it is to be undone."""


TOLD: tuple[type[Exception], ...] = (ClientGone, DomainError, HttpError, TimeoutError, grpc.aio.AioRpcError)
"""Errors that `problem_of` has words for; any other is a defect of ours."""

UNEXPECTED = Problem(
    status=500,
    reason="INTERNAL",
    detail="Something failed here that is not the caller's fault; the request id finds it in the log.",
)


def problem_of(error: BaseException, *, out_of_range: int = 400) -> Problem:
    """The problem that `error` stands for; `out_of_range`: the status of OUT_OF_RANGE where it means a size."""
    if isinstance(error, HttpError):
        return error.problem
    if isinstance(error, grpc.aio.AioRpcError):
        return _problem_of_rpc(error, out_of_range)
    if isinstance(error, DomainError):
        return _problem_of_domain(error, out_of_range)
    if isinstance(error, TimeoutError):
        return _problem_of_domain(DeadlineExceeded("A service behind this one took too long.", reason="STALLED"), 400)
    if isinstance(error, ClientGone):
        return Problem(status=CLIENT_CLOSED_REQUEST, reason="CLIENT_GONE", detail="The client closed the connection.")
    return UNEXPECTED


def render(problem: Problem, *, request_id: str) -> Response:
    """The answer that tells `problem`."""
    headers = dict(problem.headers)
    if problem.status == 401:
        headers["www-authenticate"] = "Bearer"
    if problem.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(problem.retry_after.total_seconds())))
    return Response(
        orjson.dumps(body_of(problem, request_id=request_id)),
        status_code=problem.status,
        headers=headers,
        media_type=PROBLEM_TYPE,
    )


def body_of(problem: Problem, *, request_id: str) -> dict[str, object]:
    """The problem's JSON object, also for places inside a stream."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": _title(problem.status),
        "status": problem.status,
        "detail": problem.detail,
        "reason": problem.reason,
        "request_id": request_id,
    }
    if problem.violations:
        body["violations"] = [
            {"field": caller_field(one.field), "reason": one.reason, "message": one.message}
            for one in problem.violations
        ]
    if problem.metadata:
        body["metadata"] = dict(problem.metadata)
    return body


def caller_field(field: str) -> str:
    """A contract's field path as a REST caller wrote it: `graph_json.6` is `graph.6`, `header.sha256` is `sha256`."""
    return _JSON_FIELD.sub(r"\1", _TEXT_FIELD.sub("parameters", _HEADER_FIELD.sub("", field)))


def refusal(violations: Sequence[Violation]) -> InvalidArgument:
    """The refusal of a request for all its violations."""
    return InvalidArgument(violations=violations)


def _problem_of_rpc(error: grpc.aio.AioRpcError, out_of_range: int) -> Problem:
    code = error.code()
    if code in _NOT_THE_CALLERS:
        return UNEXPECTED
    if code is grpc.StatusCode.CANCELLED:
        return problem_of(ClientGone())
    domain = error_of(error)
    if domain.reason != code.name:
        return _problem_of_domain(domain, out_of_range)
    # No ErrorInfo: gRPC itself refused, in words that name inner addresses and limits.
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Problem(status=413, reason="MESSAGE_TOO_LARGE", detail="The request or its answer is too large.")
    if code is grpc.StatusCode.UNAVAILABLE:
        domain = Unavailable(
            "A service behind this one is away for a moment; send the request again.", reason=code.name
        )
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
        domain = DeadlineExceeded("The answer did not come in time.", reason=code.name)
    return _problem_of_domain(domain, out_of_range)


def _problem_of_domain(error: DomainError, out_of_range: int) -> Problem:
    if isinstance(error, DataLoss):
        return replace(UNEXPECTED, reason=error.reason, detail="The stored bytes are missing or damaged.")
    status = next(STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES)
    retry_after = getattr(error, "retry_after", None)
    if isinstance(error, Unavailable | ResourceExhausted) and retry_after is None:
        retry_after = _RETRY_AFTER
    violations = error.violations if isinstance(error, InvalidArgument) else ()
    begins_with_field = violations and error.message.startswith(violations[0].field)
    return Problem(
        status=out_of_range if isinstance(error, OutOfRange) else status,
        reason=error.reason,
        detail=caller_field(error.message) if begins_with_field else error.message,
        violations=violations,
        metadata=error.metadata,
        retry_after=retry_after,
    )


def _title(status: int) -> str:
    if status == CLIENT_CLOSED_REQUEST:
        return "Client Closed Request"
    return HTTPStatus(status).phrase
