"""Errors as problems: statuses, fields and what is kept from callers."""

import json
from datetime import timedelta

import grpc
import pytest
from starlette.responses import Response

from gateway.problems import STATUSES, HttpError, caller_field, problem_of, render
from services.common.errors import (
    Aborted,
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
from services.common.status import DETAILS_KEY, KINDS, status_of


def rpc_error(code: grpc.StatusCode, details: str = "inner 10.0.0.1", domain: DomainError | None = None) -> Exception:
    """What a stub raises."""
    trailers = grpc.aio.Metadata()
    if domain is not None:
        trailers.add(DETAILS_KEY, status_of(domain).SerializeToString())
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, domain.message if domain else details)


def body(response: Response) -> dict[str, object]:
    """The answer's JSON."""
    made: dict[str, object] = json.loads(bytes(response.body))
    return made


def test_every_kind_of_domain_error_has_a_status() -> None:
    assert set(STATUSES) == {kind for kind in KINDS if issubclass(kind, DomainError)}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidArgument(violations=[Violation("a", "B", "c")]), 400),
        (Unauthenticated("x", reason="X"), 401),
        (PermissionDenied("x", reason="X"), 403),
        (NotFound("x", reason="X"), 404),
        (Aborted("x", reason="X"), 409),
        (FailedPrecondition("x", reason="X"), 412),
        (ResourceExhausted("x", reason="X"), 429),
        (Unavailable("x", reason="X"), 503),
    ],
)
def test_error_that_crossed_grpc_keeps_its_status_and_reason(error: DomainError, status: int) -> None:
    crossed = rpc_error(KINDS[type(error)].code, domain=error)
    for one in (error, crossed):
        problem = problem_of(one)
        assert (problem.status, problem.reason, problem.detail) == (status, error.reason, error.message)


def test_out_of_range_means_what_the_route_says() -> None:
    error = OutOfRange("x", reason="X")
    assert [problem_of(error).status, problem_of(error, out_of_range=413).status] == [400, 413]


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED])
def test_what_is_not_the_caller_s_fault_is_a_fixed_text(code: grpc.StatusCode) -> None:
    problem = problem_of(rpc_error(code))
    assert problem.status == 500
    assert "10.0.0.1" not in problem.detail
    assert problem == problem_of(KeyError("secret"))


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.UNAVAILABLE, 503),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 413),
        (grpc.StatusCode.CANCELLED, 499),
    ],
)
def test_grpc_s_own_words_stay_inside(code: grpc.StatusCode, status: int) -> None:
    problem = problem_of(rpc_error(code))
    assert problem.status == status
    assert "10.0.0.1" not in problem.detail


def test_wait_of_a_limit_is_rounded_up_to_seconds() -> None:
    error = ResourceExhausted("x", reason="X", retry_after=timedelta(seconds=2.1))
    assert render(problem_of(error), request_id="r").headers["retry-after"] == "3"


def test_rendered_problem_names_violations_and_request() -> None:
    error = InvalidArgument(violations=[Violation("graph_json", "NOT_A_GRAPH", "Send a graph.")])
    response = render(problem_of(error), request_id="r-1")
    assert response.headers["content-type"] == "application/problem+json"
    made = body(response)
    assert (made["status"], made["title"], made["request_id"]) == (400, "Bad Request", "r-1")
    assert made["violations"] == [{"field": "graph", "reason": "NOT_A_GRAPH", "message": "Send a graph."}]


def test_challenge_goes_with_401_and_headers_of_a_refusal_with_it() -> None:
    assert render(problem_of(Unauthenticated("x", reason="X")), request_id="r").headers["www-authenticate"] == "Bearer"
    error = HttpError(416, "x", reason="RANGE", headers=(("content-range", "bytes */5"),))
    assert render(error.problem, request_id="r").headers["content-range"] == "bytes */5"


def test_detail_begins_with_the_name_that_callers_wrote() -> None:
    error = InvalidArgument(violations=[Violation("graph_json", "NOT_A_GRAPH", "Give a JSON object.")])
    assert problem_of(error).detail == "graph: Give a JSON object."


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("graph_json", "graph"),
        ("graph_json.6.inputs", "graph.6.inputs"),
        ("parameters_text.my_json", "parameters.my_json"),
        ("parameters.seed", "parameters.seed"),
        ("overrides_json.6", "overrides.6"),
        ("header.sha256", "sha256"),
    ],
)
def test_fields_have_the_names_that_callers_wrote(field: str, written: str) -> None:
    assert caller_field(field) == written
