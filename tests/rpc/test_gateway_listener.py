"""The REST listener by itself: ports, slow clients, and its end."""

import asyncio
import contextlib
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from gateway.door import Door
from gateway.http_listener import open_http_listener
from gateway.links import Links


def door(inside: Any) -> Door:
    """A door in front of `inside`."""
    return Door(inside, links=Links(public_url=None, trusted_proxies=(), default_authority="x"))


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with a word."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def get(port: int) -> bytes:
    """The whole answer to a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


async def test_half_a_request_head_is_cut_off() -> None:
    async with asyncio.timeout(10), open_http_listener(door(hello), address="127.0.0.1:0", header_timeout=0.2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHos")
        assert await reader.read() == b""
        writer.close()
        assert b"hello" in await get(port)


async def test_taken_port_is_refused_and_a_freed_one_is_taken_again() -> None:
    async with open_http_listener(door(hello), address="127.0.0.1:0") as port:
        with pytest.raises(OSError, match="in use"):
            async with open_http_listener(door(hello), address=f"127.0.0.1:{port}"):
                pass
    async with open_http_listener(door(hello), address=f"127.0.0.1:{port}") as again:
        assert again == port
        assert b"hello" in await get(port)


async def test_request_under_way_is_finished_when_the_listener_stops() -> None:
    begun, proceed = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await proceed.wait()
        await hello(scope, receive, send)

    async with contextlib.AsyncExitStack() as stack:
        port = await stack.enter_async_context(open_http_listener(door(slow), address="127.0.0.1:0"))
        asked = asyncio.create_task(get(port))
        await begun.wait()
        stopping = asyncio.create_task(stack.aclose())
        proceed.set()
        assert b"hello" in await asked
        await stopping


async def test_failure_inside_is_a_fixed_text_with_the_request_s_id() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("the password is swordfish")

    async with open_http_listener(door(broken), address="127.0.0.1:0") as port:
        answer = await get(port)
    assert b" 500 " in answer
    assert b"swordfish" not in answer
    assert b"x-request-id" in answer
