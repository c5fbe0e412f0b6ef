"""The outermost layer of the REST listener: request id, caller, and an answer whatever happens inside."""

import asyncio
import re
from contextlib import suppress
from time import perf_counter
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.caller import Caller, metadata_of
from gateway.links import Links
from gateway.problems import TOLD, UNEXPECTED, HttpError, Problem, problem_of, render
from services.common.ids import new_id
from services.common.rpc.metadata import set_request_id

REQUEST = "http_request"
REQUEST_FAILED = "http_request_failed"

DRAIN_BYTES = 16 * 1024 * 1024
DRAIN_TIME = 2.0
"""Seconds, and bytes, for which a refused body is still read."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNSTORABLE_QUERY = re.compile(rb"%00|\x00", re.IGNORECASE)

_log = structlog.get_logger()


class Door:
    """Wraps the application. Requests under way are `tasks`, for a porch that stops."""

    def __init__(self, app: ASGIApp, *, links: Links) -> None:
        self._app = app
        self._links = links
        self.tasks: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            await self._serve(_Exchange(scope, receive, send))
        finally:
            self.tasks.discard(task)

    async def _serve(self, exchange: "_Exchange") -> None:
        scope = exchange.scope
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=exchange.request_id, member="gateway")
        set_request_id(exchange.request_id)
        began = perf_counter()
        try:
            _refuse_unstorable(scope)
            metadata = metadata_of(scope["headers"])
            scope["comfyfleet.caller"] = Caller(
                metadata=metadata, request_id=exchange.request_id, url=self._links.base(scope)
            )
            await self._app(scope, exchange.receive, exchange.send)
        except TOLD as error:
            await exchange.tell(problem_of(error))
        except Exception:
            _log.exception(REQUEST_FAILED, method=scope["method"])
            await exchange.tell(UNEXPECTED)
        finally:
            _log.debug(
                REQUEST, method=scope["method"], status=exchange.status, seconds=round(perf_counter() - began, 4)
            )


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._unread = True
        self.request_id = _request_id(scope)
        self.status = 0

    async def receive(self) -> Message:
        """The next part of the body, or word that the client has gone."""
        message = await self._receive()
        self._unread = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass `message` on, the request id among its headers; refuse a body so that its sender reads the refusal."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode())]
            message = {**message, "headers": headers}
        if message["type"] == "http.response.body" and self.status >= 400 and self._unread:
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _drain(self) -> None:
        """Read on a little: a connection closed over unread bytes is reset, and takes the answer with it."""
        left = DRAIN_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_TIME):
                while self._unread and left > 0:
                    left -= len((await self.receive()).get("body", b""))

    async def tell(self, problem: Problem) -> None:
        """Answer with `problem`, unless an answer has begun."""
        if not self.status:
            await render(problem, request_id=self.request_id)(self.scope, self.receive, self.send)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return new_id()


def _refuse_unstorable(scope: Scope) -> None:
    if _UNSTORABLE.search(scope["path"]) or _UNSTORABLE_QUERY.search(scope["query_string"]):
        raise HttpError(400, "Addresses may not hold NUL or a lone surrogate.", reason="BAD_STRING")
