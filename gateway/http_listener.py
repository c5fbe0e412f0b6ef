"""The REST listener: granian in our own event loop, bound before it serves, drained when it stops."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from gateway.door import Door

HEADER_TIMEOUT = 10.0
"""Seconds that a client may take for its request's head."""
GRACE = 10.0
"""Seconds that requests under way have to finish."""
START_TIMEOUT = 10.0


@asynccontextmanager
async def open_http_listener(door: Door, *, address: str, header_timeout: float = HEADER_TIMEOUT) -> AsyncIterator[int]:
    """Serve `door` at `address` (`host:port`, port 0 for a free one); gives the port, once it takes connections.

    OSError if the address is taken. At the end no connection is taken any more, requests under way have `GRACE`
    seconds, and what is left is cancelled.
    """
    host, port = _split(address)
    with _reserved(host, port) as reserved:
        bound: int = reserved.getsockname()[1]
        server = Server(
            door,
            address=host,
            port=bound,
            interface=Interfaces.ASGINL,
            # Telling HTTP/2 by its first bytes waits for them without a deadline; proxies speak HTTP/1.1 to us.
            http=HTTPModes.http1,
            websockets=False,
            log_enabled=False,
            backlog=1024,
            http1_settings=HTTP1Settings(header_read_timeout=int(header_timeout * 1000)),
        )
        serving = asyncio.create_task(server.serve(), name="http-listener")
        try:
            await _until_open(host, bound, serving)
            yield bound
        finally:
            await asyncio.shield(_stop(server, serving, door))


async def _stop(server: Server, serving: "asyncio.Task[None]", door: Door) -> None:
    server.stop()  # type: ignore[no-untyped-call]  # granian has no types
    await asyncio.wait({serving}, timeout=GRACE)
    if not serving.done():
        for task in list(door.tasks):
            task.cancel()
        await asyncio.wait({serving}, timeout=1.0)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def _until_open(host: str, port: int, serving: "asyncio.Task[None]") -> None:
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    async with asyncio.timeout(START_TIMEOUT):
        while True:
            if serving.done():
                await serving
                raise OSError(f"The REST listener at {host}:{port} ended while it started.")
            try:
                _, writer = await asyncio.open_connection(target, port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            writer.close()
            return


def _reserved(host: str, port: int) -> socket.socket:
    """Holds the port without listening, so that a free one stays ours until granian listens on it.

    Its own bind shares the port with this one only; a stranger's listener makes the first bind fail.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    probe = socket.socket(family)
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if port:
        try:
            probe.bind((host, port))
        finally:
            probe.close()
        probe = socket.socket(family)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    probe.bind((host, port))
    return probe


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)
