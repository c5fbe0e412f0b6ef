"""Request bodies as they arrive: bounded in size, and never slower than a minimum rate."""

import asyncio
import re
from collections.abc import AsyncIterator
from time import monotonic

from starlette.requests import Request

from gateway.problems import ClientGone, HttpError
from services.common.errors import InvalidArgument, Violation
from services.common.json_bytes import InvalidJson, JsonValue, parse_json

MAX_JSON_BYTES = 12 * 1024 * 1024
"""A graph may have 8 MiB; the rest of a request has room beside it."""
MAX_JSON_DEPTH = 80
"""Graphs may nest 64 deep, and stand a little inside a request; rooms say exactly what is too deep."""
RATE_WINDOW = 10.0
"""Seconds of waiting for the client over which the rate is taken."""
MINIMUM_RATE = 1024
"""Bytes per second."""

_JSON_TYPES = re.compile(r"application/(?:[\w.+-]+\+)?json", re.IGNORECASE)


class Body:
    """The chunks of one request's body, to be iterated once.

    HttpError 413 above `limit` bytes, 408 below the minimum rate; ClientGone when the client closes before the end.
    """

    def __init__(self, request: Request, *, limit: int, rate_window: float = RATE_WINDOW) -> None:
        self._receive = request.receive
        self._limit = limit
        self._window = rate_window
        self.content_length = content_length(request)
        if self.content_length is not None and self.content_length > limit:
            raise _too_large(limit)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total, in_window, waited = 0, 0, 0.0
        while True:
            began = monotonic()
            try:
                # A reader that never sends, and one that drips, both end here; our own slowness does not count.
                async with asyncio.timeout(self._window):
                    message = await self._receive()
            except TimeoutError:
                raise _too_slow() from None
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk: bytes = message.get("body", b"")
            total += len(chunk)
            if total > self._limit:
                raise _too_large(self._limit)
            if chunk:
                yield chunk
            if not message.get("more_body", False):
                return
            in_window, waited = in_window + len(chunk), waited + monotonic() - began
            if waited >= self._window:
                if in_window < MINIMUM_RATE * self._window:
                    raise _too_slow()
                in_window, waited = 0, 0.0


def content_length(request: Request) -> int | None:
    """The declared length; None where the body is chunked."""
    text = request.headers.get("content-length")
    return int(text) if text and text.isascii() and text.isdigit() else None


async def read_json(request: Request) -> JsonValue:
    """The body as a JSON value; HttpError or InvalidArgument where it is none."""
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if not _JSON_TYPES.fullmatch(content_type):
        raise HttpError(415, "Send the body as application/json.", reason="UNSUPPORTED_MEDIA_TYPE")
    chunks = [chunk async for chunk in Body(request, limit=MAX_JSON_BYTES)]
    return json_of(b"".join(chunks) if len(chunks) != 1 else chunks[0], field="body")


def json_of(data: bytes, *, field: str) -> JsonValue:
    """`data` as a JSON value; InvalidArgument names `field` and the place."""
    try:
        return parse_json(data, max_bytes=MAX_JSON_BYTES, max_depth=MAX_JSON_DEPTH)
    except InvalidJson as error:
        if error.reason == "TOO_LARGE":
            raise _too_large(MAX_JSON_BYTES) from None
        place = field if error.path == "$" else error.path.removeprefix("$.")
        violation = Violation(place, f"JSON_{error.reason}", error.message)
        raise InvalidArgument(violations=[violation], reason="INVALID_JSON") from None


async def read_object(request: Request) -> dict[str, JsonValue]:
    """The body as a JSON object; an absent body is an empty one."""
    if request.headers.get("content-length") == "0":
        return {}
    return object_of(await read_json(request), field="body")


def object_of(value: JsonValue, *, field: str) -> dict[str, JsonValue]:
    """`value` if it is a JSON object, else InvalidArgument."""
    if not isinstance(value, dict):
        raise InvalidArgument(violations=[Violation(field, "WRONG_TYPE", "Send a JSON object.")])
    return value


def _too_large(limit: int) -> HttpError:
    return HttpError(413, f"The body is larger than {limit} bytes.", reason="BODY_TOO_LARGE")


def _too_slow() -> HttpError:
    detail = f"The body came more slowly than {MINIMUM_RATE} bytes a second."
    return HttpError(408, detail, reason="BODY_TOO_SLOW")
