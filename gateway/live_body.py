"""The body of an answer that has no known end: written piece by piece, alive in between, and never stuck for ever."""

import asyncio
from collections.abc import Callable

from starlette.types import Send


class LiveBody:
    """Writes pieces as they come, and `heartbeat` after each `every` seconds of silence.

    One timer serves all heartbeats, and a piece costs no task. A client that takes nothing for `send_timeout` seconds
    ends `write` with TimeoutError; `stalled` is called when it is a heartbeat that it does not take.
    """

    def __init__(
        self, send: Send, *, heartbeat: bytes, every: float, send_timeout: float, stalled: Callable[[], None]
    ) -> None:
        self._send = send
        self._heartbeat = heartbeat
        self._every = every
        self._send_timeout = send_timeout
        self._stalled = stalled
        self._loop = asyncio.get_running_loop()
        self._written = self._loop.time()
        self._writing = self._stuck = False
        self._beating: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(every, self._look)

    async def write(self, piece: bytes, *, last: bool = False) -> None:
        """One piece, after a heartbeat that is under way; nothing may follow the last one."""
        if self._beating is not None:
            await self._beating
        if self._stuck:
            raise TimeoutError
        self._writing = True
        try:
            async with asyncio.timeout(self._send_timeout):
                await self._send({"type": "http.response.body", "body": piece, "more_body": not last})
        finally:
            self._writing, self._written = False, self._loop.time()

    def close(self) -> None:
        """No heartbeat from now on."""
        self._timer.cancel()
        if self._beating is not None:
            self._beating.cancel()

    def _look(self) -> None:
        now, due = self._loop.time(), self._written + self._every
        if self._writing:
            due = now + self._every
        elif now >= due:
            self._beating = asyncio.create_task(self._beat(), name="heartbeat")
            due = now + self._every
        self._timer = self._loop.call_at(due, self._look)

    async def _beat(self) -> None:
        try:
            async with asyncio.timeout(self._send_timeout):
                await self._send({"type": "http.response.body", "body": self._heartbeat, "more_body": True})
        except TimeoutError:
            self._stuck = True
            self._stalled()
        finally:
            self._beating, self._written = None, self._loop.time()
