"""Routes that are answered before the framework sees them."""

from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from gateway.hot_routes import HotRoute, HotRoutes


async def hot(request: Request) -> Response:
    """Says which parameters it was given."""
    return PlainTextResponse(f"hot {request.path_params}")


async def framework(scope: Scope, receive: Receive, send: Send) -> None:
    """What stands behind."""
    await PlainTextResponse("framework")(scope, receive, send)


async def asked(method: str, path: str) -> str:
    """The answer's text."""
    routes = HotRoutes(
        framework,
        [
            HotRoute(method="POST", path="/v1/runs", answer=hot),
            HotRoute(method="GET", path="/v1/runs/{run_id}/events", answer=hot),
        ],
    )
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nobody reads")

    await routes({"type": "http", "method": method, "path": path, "headers": []}, receive, send)
    return bytes(sent[1]["body"]).decode()


async def test_hot_route_is_answered_with_the_parameters_of_its_path() -> None:
    assert await asked("POST", "/v1/runs") == "hot {}"
    assert await asked("GET", "/v1/runs/a-b/events") == "hot {'run_id': 'a-b'}"


async def test_everything_else_is_the_framework_s() -> None:
    for method, path in (
        ("GET", "/v1/runs"),
        ("POST", "/v1/runs/"),
        ("POST", "/v1/runs/a/events"),
        ("GET", "/v1/runs//events"),
        ("GET", "/v1/runs/a/b/events"),
        ("GET", "/v1/runs/a/events/"),
        ("HEAD", "/v1/runs/a/events"),
    ):
        assert await asked(method, path) == "framework", (method, path)
