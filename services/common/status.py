"""Domain errors to gRPC statuses and back: the one table of kinds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # ships no stubs
from grpc_status import rpc_status

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

ERROR_DOMAIN = "comfyfleet"
DETAILS_KEY = "grpc-status-details-bin"
MAX_VIOLATION_BYTES = 4800
MAX_MESSAGE_BYTES = 512
"""Trailers of more than 8 KiB are refused by clients of every language: what does not fit is counted, not sent."""
LEFT_OUT = "violations_left_out"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What one class of error means on the wire and in the log."""

    code: grpc.StatusCode
    log_level: str = "info"


KINDS: dict[type[BaseException], Kind] = {
    InvalidArgument: Kind(code=grpc.StatusCode.INVALID_ARGUMENT),
    Unauthenticated: Kind(code=grpc.StatusCode.UNAUTHENTICATED),
    PermissionDenied: Kind(code=grpc.StatusCode.PERMISSION_DENIED),
    NotFound: Kind(code=grpc.StatusCode.NOT_FOUND),
    AlreadyExists: Kind(code=grpc.StatusCode.ALREADY_EXISTS),
    FailedPrecondition: Kind(code=grpc.StatusCode.FAILED_PRECONDITION),
    Aborted: Kind(code=grpc.StatusCode.ABORTED),
    OutOfRange: Kind(code=grpc.StatusCode.OUT_OF_RANGE),
    ResourceExhausted: Kind(code=grpc.StatusCode.RESOURCE_EXHAUSTED, log_level="warning"),
    Unavailable: Kind(code=grpc.StatusCode.UNAVAILABLE, log_level="warning"),
    DeadlineExceeded: Kind(code=grpc.StatusCode.DEADLINE_EXCEEDED),
    DataLoss: Kind(code=grpc.StatusCode.DATA_LOSS, log_level="error"),
    BaseException: Kind(code=grpc.StatusCode.INTERNAL, log_level="error"),
}

_KIND_OF_CODE: dict[grpc.StatusCode, type[DomainError]] = {
    kind.code: error for error, kind in KINDS.items() if issubclass(error, DomainError)
}


def kind_of(error: BaseException) -> Kind:
    """The row of the table for `error`, found by walking its class's `__mro__`."""
    return next(KINDS[cls] for cls in type(error).__mro__ if cls in KINDS)


def status_of(error: DomainError) -> status_pb2.Status:
    """The rich status of `error`: ErrorInfo always, BadRequest and RetryInfo where they apply."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=error.metadata)
    details: list[any_pb2.Any] = []
    if isinstance(error, InvalidArgument) and error.violations:
        bad_request = _bad_request(error.violations)
        if left_out := len(error.violations) - len(bad_request.field_violations):
            info.metadata[LEFT_OUT] = str(left_out)
        details.append(_pack(bad_request))
    details.insert(0, _pack(info))
    if isinstance(error, ResourceExhausted | Unavailable) and error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromTimedelta(error.retry_after)
        details.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    return status_pb2.Status(code=_number(kind_of(error).code), message=_cut(error.message), details=details)


def error_of(rpc_error: grpc.aio.AioRpcError) -> DomainError:
    """The domain error that a peer's failed call stands for.

    Codes without a kind of their own (INTERNAL, UNKNOWN, UNIMPLEMENTED) become `Unavailable` with the reason
    PEER_FAILED: to the caller of this process it is a failure that is not theirs.
    """
    info = error_details_pb2.ErrorInfo(reason=rpc_error.code().name)
    violations: list[Violation] = []
    retry_after: timedelta | None = None
    status = _rich_status(rpc_error)
    for detail in status.details if status is not None else ():
        bad_request, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(bad_request):
            violations = [Violation(v.field, v.reason, v.description) for v in bad_request.field_violations]
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta()
        else:
            detail.Unpack(info)
    message, metadata = rpc_error.details() or rpc_error.code().name, dict(info.metadata)
    cls = _KIND_OF_CODE.get(rpc_error.code())
    if cls is None:
        return Unavailable("A service behind this one failed.", reason="PEER_FAILED", metadata=metadata)
    if cls is InvalidArgument:
        return InvalidArgument(message, violations=violations, reason=info.reason, metadata=metadata)
    if cls is ResourceExhausted or cls is Unavailable:
        return cls(message, reason=info.reason, retry_after=retry_after, metadata=metadata)
    return cls(message, reason=info.reason, metadata=metadata)


def _rich_status(rpc_error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    try:
        return rpc_status.from_call(rpc_error)  # type: ignore[arg-type]  # typed for the sync API; reads two methods
    except ValueError:  # gRPC ended the call with a code of its own, after the server had sent another
        return None


def _bad_request(violations: Sequence[Violation]) -> error_details_pb2.BadRequest:
    """As many of the violations as fit, the first at least."""
    bad_request = error_details_pb2.BadRequest()
    room = MAX_VIOLATION_BYTES
    for v in violations:
        made = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(v.field), reason=v.reason, description=_cut(v.message)
        )
        room -= made.ByteSize() + 4
        if room < 0:
            break
        bad_request.field_violations.append(made)
    return bad_request


def _cut(text: str) -> str:
    data = text.encode()
    return text if len(data) <= MAX_MESSAGE_BYTES else data[:MAX_MESSAGE_BYTES].decode(errors="ignore")


def _pack(
    message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _number(code: grpc.StatusCode) -> int:
    number: int = code.value[0]
    return number
