"""When the run room is to be told (A15)."""

import asyncio

SOON = 0.05
"""A phase in between is told after so long. The end of a short execution overtakes it, and one message says both: a run
of a few milliseconds costs two messages in all (EXECUTION D)."""
PROGRESS = 0.1
"""Progress is told at most so often."""


class Changes:
    """Collects reasons to report, for one writer."""

    def __init__(self) -> None:
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> None:
        """An execution ended, or a backend came or went: tell it in this turn of the loop."""
        self._due.set()

    def soon(self) -> None:
        """A phase or an output changed."""
        self._within(SOON)

    def progressed(self) -> None:
        """Only progress changed."""
        self._within(PROGRESS)

    async def wait(self, at_most: float) -> None:
        """Return when a report is due, or after `at_most` seconds."""
        try:
            async with asyncio.timeout(at_most):
                await self._due.wait()
        except TimeoutError:
            pass
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _within(self, seconds: float) -> None:
        if self._due.is_set():
            return
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = loop.call_at(at, self._due.set)
