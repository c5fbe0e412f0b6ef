"""Domain errors on the wire and back."""

from datetime import timedelta

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from services.common import errors
from services.common.errors import DomainError, InvalidArgument, ResourceExhausted, Unavailable, Violation
from services.common.status import DETAILS_KEY, error_of, kind_of, status_of


def _over_the_wire(error: DomainError) -> DomainError:
    status = status_of(error)
    return error_of(
        AioRpcError(
            kind_of(error).code,
            Metadata(),
            Metadata((DETAILS_KEY, status.SerializeToString())),
            details=status.message,
        )
    )


@pytest.mark.parametrize(
    "error",
    [
        cls("Try another.", reason="SOME_REASON", metadata={"id": "7"})
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, DomainError) and cls is not DomainError
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_kind_survives_the_wire(error: DomainError) -> None:
    received = _over_the_wire(error)
    assert type(received) is type(error)
    assert (received.message, received.reason, received.metadata) == ("Try another.", "SOME_REASON", {"id": "7"})


def test_all_violations_survive_the_wire() -> None:
    violations = (Violation("a", "REQUIRED", "Give a."), Violation("b.c", "TYPE", "b.c is a string."))
    received = _over_the_wire(InvalidArgument(violations=violations))
    assert isinstance(received, InvalidArgument)
    assert received.violations == violations


@pytest.mark.parametrize("kind", [ResourceExhausted, Unavailable])
def test_retry_delay_survives_the_wire(kind: type[ResourceExhausted] | type[Unavailable]) -> None:
    received = _over_the_wire(kind("Later.", reason="FULL", retry_after=timedelta(seconds=1.5)))
    assert isinstance(received, ResourceExhausted | Unavailable)
    assert received.retry_after == timedelta(seconds=1.5)


def test_a_peers_internal_error_is_unavailable() -> None:
    received = error_of(AioRpcError(grpc.StatusCode.INTERNAL, Metadata(), Metadata(), details="secret"))
    assert isinstance(received, Unavailable)
    assert received.reason == "PEER_FAILED"
    assert "secret" not in received.message


def test_an_unknown_error_is_internal() -> None:
    assert kind_of(KeyError("x")).code is grpc.StatusCode.INTERNAL
