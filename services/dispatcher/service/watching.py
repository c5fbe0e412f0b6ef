"""Local watchers of executions, and the way of previews to the run room."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from services.dispatcher.model.execution import Preview

_WAITING = 256
"""Messages that wait for a slow watcher; older ones are dropped, since the backend's reader never waits (A9)."""


@dataclass(frozen=True, kw_only=True)
class RawMessage:
    """A message of the backend."""

    message_json: bytes


class Watch:
    """One watcher's messages."""

    def __init__(self, *, previews: bool) -> None:
        self.previews = previews
        self._messages: asyncio.Queue[RawMessage | Preview] = asyncio.Queue(_WAITING)

    async def next(self) -> RawMessage | Preview:
        """The next message."""
        return await self._messages.get()

    def offer(self, message: RawMessage | Preview) -> None:
        """Give a message; the oldest makes room."""
        if self._messages.full():
            self._messages.get_nowait()
        self._messages.put_nowait(message)


class Watchers:
    """All local watchers, by run."""

    def __init__(self, *, publish: Callable[[Preview], None]) -> None:
        self._publish = publish
        self._by_run: dict[str, list[Watch]] = {}

    @contextmanager
    def watching(self, run_id: str, *, previews: bool) -> Iterator[Watch]:
        """Watch a run's executions."""
        watch = Watch(previews=previews)
        watches = self._by_run.setdefault(run_id, [])
        watches.append(watch)
        try:
            yield watch
        finally:
            watches.remove(watch)
            if not watches:
                self._by_run.pop(run_id, None)

    def wanted(self, run_id: str) -> bool:
        """Whether anybody here watches."""
        return run_id in self._by_run

    def previews_wanted(self, run_id: str) -> bool:
        """Whether anybody here watches pictures."""
        return any(watch.previews for watch in self._by_run.get(run_id, ()))

    def said(self, run_id: str, message_json: bytes) -> None:
        """A message came."""
        for watch in self._by_run.get(run_id, ()):
            watch.offer(RawMessage(message_json=message_json))

    def previewed(self, preview: Preview, *, publish: bool) -> None:
        """A picture came; `publish`: the run room wants it."""
        if publish:
            self._publish(preview)
        for watch in self._by_run.get(preview.key.run_id, ()):
            if watch.previews:
                watch.offer(preview)
