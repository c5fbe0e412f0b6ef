"""The REST application: all routes, and every error as a problem."""

from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from gateway.caller import caller_of
from gateway.docs_page import docs_router
from gateway.download import Downloads
from gateway.health import RoomsHealth
from gateway.hot_routes import HotRoutes
from gateway.openapi.schemas import SCHEMAS
from gateway.presence import OpenStreams
from gateway.problems import TOLD, Problem, problem_of, render
from gateway.rest.access import AccessRoutes
from gateway.rest.files import FileRoutes
from gateway.rest.health import HealthRoutes
from gateway.rest.runners import RunnerRoutes
from gateway.rest.runs import RunRoutes
from gateway.rest.workflows import WorkflowRoutes
from gateway.rooms import Rooms

UPLOAD_SLACK = 1024 * 1024
"""Bytes that a request may have beside its largest file: the other parts of a form."""

_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-KEY"},
}


def make_app(
    *,
    rooms: Rooms,
    streams: OpenStreams,
    health: RoomsHealth,
    max_file_bytes: int,
    heartbeat: float,
    send_timeout: float,
) -> ASGIApp:
    """The application over `rooms`. `heartbeat` and `send_timeout` in seconds."""
    app = FastAPI(
        title="ComfyFleet",
        version="1",
        description="Workflows go in, runs go to ComfyUI backends, progress and outputs come back live. "
        "Times are RFC 3339 in UTC, durations are seconds as text (`30s`), integers are exact up to 64 bits.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    limit = max_file_bytes + UPLOAD_SLACK
    runs = RunRoutes(rooms=rooms, streams=streams, upload_limit=limit, heartbeat=heartbeat, send_timeout=send_timeout)
    downloads = Downloads(rooms=rooms, send_timeout=send_timeout)
    app.include_router(runs.router())
    files = FileRoutes(rooms=rooms, downloads=downloads, upload_limit=limit)
    app.include_router(files.router())
    app.include_router(WorkflowRoutes(rooms=rooms).router())
    app.include_router(RunnerRoutes(rooms=rooms).router())
    app.include_router(AccessRoutes(rooms=rooms).router())
    app.include_router(HealthRoutes(health=health).router())
    app.include_router(docs_router())
    for kind in TOLD:
        app.add_exception_handler(kind, _tell)
    app.add_exception_handler(HTTPException, _tell_http)
    _complete_document(app)
    return HotRoutes(app, [*runs.hot_routes(), *files.hot_routes()])


async def _tell(request: Request, error: Exception) -> Response:
    return render(problem_of(error), request_id=caller_of(request).request_id)


async def _tell_http(request: Request, error: Exception) -> Response:
    """The framework's own refusals: no such route, or not with this method."""
    assert isinstance(error, HTTPException)
    known = {404: ("NO_SUCH_ROUTE", "There is no such route."), 405: ("METHOD_NOT_ALLOWED", "Not with this method.")}
    reason, detail = known.get(error.status_code, ("REFUSED", str(error.detail)))
    headers = tuple((error.headers or {}).items())
    problem = Problem(status=error.status_code, reason=reason, detail=detail, headers=headers)
    return render(problem, request_id=caller_of(request).request_id)


def _complete_document(app: FastAPI) -> None:
    """Add what routes that read and write bytes cannot tell the framework: schemas and credentials."""
    # The installed page reads 3.0, not 3.1.
    app.openapi_version = "3.0.3"
    generate = app.openapi

    def document() -> dict[str, Any]:
        made = generate()
        if "security" not in made:
            made["components"] = {**made.get("components", {}), "schemas": SCHEMAS, "securitySchemes": _SECURITY}
            made["security"] = [{"bearer": []}, {"key": []}]
        return made

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way
