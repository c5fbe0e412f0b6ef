"""Takes prompts out of a backend: the cancel loop (A8).

1. Delete it from the waiting.
2. Read the queue: in neither list means done, and what really happened stands in the history.
3. If it runs, interrupt exactly it; at most once a second, since the interrupt is one global flag at the server, which
   may hit the prompt after it (PROTOCOL.md §6).
4. From 1, for as long as it takes: a node that blocks is not cut short.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from services.dispatcher.drivers.comfyui.queue import QueueReading
from services.dispatcher.drivers.comfyui.site import Site
from services.dispatcher.drivers.driver import BackendAway

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 1.0
_INTERRUPT_EVERY = 1.0
_STUCK_AFTER = 60.0

log = structlog.get_logger()


class Reaper:
    """The prompts of one backend that are on their way out."""

    def __init__(self, *, site: Site, read: Callable[[], Awaitable[QueueReading]], changed: Callable[[], None]) -> None:
        self._site = site
        self._read = read
        self._changed = changed
        self._began: dict[str, float] = {}
        self._interrupting: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._is_closed = False

    def remove(self, prompt_id: str, *, interrupt: bool = True) -> None:
        """Begin, unless it is on its way out already. Without `interrupt` a prompt that runs is left alone (RECALL)."""
        if interrupt:
            self._interrupting.add(prompt_id)
        if prompt_id in self._tasks or self._is_closed:
            return
        self._began[prompt_id] = self._site.stopwatch()
        self._tasks[prompt_id] = asyncio.create_task(self._reap(prompt_id), name=f"reap-{prompt_id}")
        # Not here and now: whoever is told may ask for another prompt's removal.
        asyncio.get_running_loop().call_soon(self._changed)

    def prompt_ids(self) -> tuple[str, ...]:
        """Prompts that have not left yet."""
        return tuple(self._began)

    def stuck(self) -> str:
        """A prompt that has not left for a minute; empty: none."""
        now = self._site.stopwatch()
        return next((prompt_id for prompt_id, began in self._began.items() if now - began > _STUCK_AFTER), "")

    async def close(self) -> None:
        """End all loops and begin no other; what is at the backend stays there."""
        self._is_closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _reap(self, prompt_id: str) -> None:
        pause, interrupted_at = _FIRST_PAUSE, float("-inf")
        try:
            while True:
                try:
                    await self._site.client.delete_pending(prompt_id)
                    item = (await self._read()).items.get(prompt_id)
                    if item is None:
                        return
                    if item.running and prompt_id not in self._interrupting:
                        return
                    if item.running and self._site.stopwatch() - interrupted_at >= _INTERRUPT_EVERY:
                        interrupted_at = self._site.stopwatch()
                        await self._site.client.interrupt(prompt_id, by_jobs=self._site.has_jobs)
                except BackendAway as away:
                    log.info("reaping_waits", prompt_id=prompt_id, reason=away.reason)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            del self._began[prompt_id]
            del self._tasks[prompt_id]
            self._interrupting.discard(prompt_id)
            self._changed()
