"""Bodies as they arrive: sizes, rates, and what is no JSON."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import Request

from gateway.body import Body, read_json, read_object
from gateway.problems import ClientGone, HttpError
from services.common.errors import InvalidArgument


def request(messages: Sequence[Any], *headers: tuple[str, str], pause: float = 0.0) -> Request:
    """A request whose body comes in `messages`, and then never ends."""
    waiting = list(messages)

    async def receive() -> Any:
        await asyncio.sleep(pause)
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    raw = [(name.encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "method": "POST", "headers": raw, "path": "/", "query_string": b""}, receive)


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    """One message of a body."""
    return {"type": "http.request", "body": body, "more_body": more}


async def refused(body: Body) -> int:
    """The status with which reading `body` is refused."""
    with pytest.raises(HttpError) as caught:
        [chunk async for chunk in body]
    return caught.value.problem.status


async def test_body_that_stops_coming_is_408() -> None:
    assert await refused(Body(request([part(b"x")]), limit=10, rate_window=0.05)) == 408


async def test_body_that_drips_is_408() -> None:
    dripping = request([part(b"x")] * 1000, pause=0.01)
    assert await refused(Body(dripping, limit=10_000, rate_window=0.05)) == 408


async def test_body_above_the_limit_is_413_as_bytes_arrive() -> None:
    assert await refused(Body(request([part(b"xx")] * 9), limit=10)) == 413


async def test_declared_length_above_the_limit_is_413_before_any_byte() -> None:
    with pytest.raises(HttpError) as caught:
        Body(request([], ("content-length", "10000000000")), limit=10)
    assert caught.value.problem.status == 413


async def test_client_that_goes_is_noticed() -> None:
    with pytest.raises(ClientGone):
        [chunk async for chunk in Body(request([part(b"x"), {"type": "http.disconnect"}]), limit=10)]


async def test_other_types_than_json_are_415() -> None:
    with pytest.raises(HttpError) as caught:
        await read_json(request([part(b"{}", more=False)], ("content-type", "text/plain")))
    assert caught.value.problem.status == 415


async def test_absent_body_is_an_empty_object_and_other_values_are_refused() -> None:
    assert await read_object(request([], ("content-length", "0"))) == {}
    with pytest.raises(InvalidArgument):
        await read_object(request([part(b"[]", more=False)]))
