"""The body of an answer that has no known end: written piece by piece, alive in between, and never stuck for ever."""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.types import Send


class LiveBody:
    """Writes pieces as they come, and `heartbeat` after each `every` seconds of silence. To be made by its writer.

    One timer watches both the silence and the writing, so that a piece costs no timer and no task. A client that
    takes nothing for `send_timeout` seconds (or for `every`, if that is longer) ends `write` with TimeoutError;
    `stalled` is called before, since the writer may be waiting for something else.
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
        self._writer: asyncio.Task[Any] | None = asyncio.current_task()
        self._beating: asyncio.Task[None] | None = None
        self._since = self._loop.time()
        """When the last piece was taken, or the one under way was begun."""
        self._writing = self._stuck = False
        self._timer = self._loop.call_later(every, self._look)

    async def write(self, piece: bytes, *, last: bool = False) -> None:
        """One piece, after a heartbeat that is under way; nothing may follow the last one."""
        if self._beating is not None:
            await asyncio.wait({self._beating})
        if self._stuck:
            raise TimeoutError
        self._since, self._writing = self._loop.time(), True
        try:
            await self._send({"type": "http.response.body", "body": piece, "more_body": not last})
        except asyncio.CancelledError:
            if self._stuck and self._writer is not None and self._writer.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            self._since, self._writing = self._loop.time(), False

    def close(self) -> None:
        """No heartbeat from now on."""
        self._timer.cancel()
        if self._beating is not None:
            self._beating.cancel()

    def _look(self) -> None:
        under_way = self._beating or (self._writer if self._writing else None)
        now, due = self._loop.time(), self._since + (self._every if under_way is None else self._send_timeout)
        if now >= due:
            if under_way is not None:
                self._stuck = True
                self._stalled()
                under_way.cancel()
                return
            self._beating = self._loop.create_task(self._beat(), name="heartbeat")
            self._since, due = now, now + self._send_timeout
        self._timer = self._loop.call_at(min(due, now + self._every), self._look)

    async def _beat(self) -> None:
        try:
            await self._send({"type": "http.response.body", "body": self._heartbeat, "more_body": True})
        finally:
            self._beating, self._since = None, self._loop.time()
