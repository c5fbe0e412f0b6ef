"""A status fits into the trailers that clients of every language take."""

from google.rpc import error_details_pb2  # type: ignore[import-untyped]  # ships no stubs

from services.common.errors import InvalidArgument, Violation
from services.common.status import LEFT_OUT, status_of

TRAILERS = 8192


def _parts(error: InvalidArgument) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.BadRequest]:
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status_of(error).details:
        assert detail.Unpack(info) or detail.Unpack(bad_request)
    return info, bad_request


def test_violations_that_do_not_fit_are_counted() -> None:
    error = InvalidArgument(
        violations=[Violation(f"graph_json.{n}", "NOT_A_NODE", "Give a node.") for n in range(1000)]
    )
    info, bad_request = _parts(error)
    sent = len(bad_request.field_violations)
    assert 50 < sent < 1000
    assert int(info.metadata[LEFT_OUT]) == 1000 - sent
    assert status_of(error).ByteSize() < TRAILERS - 2048


def test_long_texts_are_cut_between_characters() -> None:
    error = InvalidArgument("ä" * 10_000, violations=[Violation("ü" * 10_000, "LONG", "ö" * 10_000)])
    info, bad_request = _parts(error)
    assert LEFT_OUT not in info.metadata
    assert set(bad_request.field_violations[0].field) == {"ü"}
    assert status_of(error).ByteSize() < TRAILERS - 2048


def test_few_violations_are_all_sent() -> None:
    violations = [Violation(f"parameters.key{n}", "WRONG_TYPE", "Give a string.") for n in range(40)]
    _, bad_request = _parts(InvalidArgument(violations=violations))
    assert [violation.field for violation in bad_request.field_violations] == [one.field for one in violations]
