"""Hints: words that wake somebody up, and may be lost. Whoever waits for one also looks by itself now and then.

In this process they are delivered at once; to other processes over core NATS on `comfyfleet-hint.>`, never stored.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog

from services.common.events.nats import Nats

PREFIX = "comfyfleet-hint."
MOST_WAITING = 1_000
"""Hints that wait to be sent; beyond it the oldest is dropped."""
HINT_FAILED = "hint_failed"

_log = structlog.get_logger()

Callback = Callable[[str, bytes], None]


class Hints:
    """Publish and subscribe by subject, without the prefix: `assigned.<dispatcher>`, `watching.<run>`."""

    def __init__(self, *, nats: Nats | None) -> None:
        self._nats = nats
        self._exact: dict[str, list[Callback]] = {}
        self._patterns: list[tuple[list[str], Callback]] = []
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=MOST_WAITING)
        self._wake = asyncio.Event()

    def publish(self, subject: str, payload: bytes = b"") -> None:
        """Tell everybody who subscribed; returns at once, and never fails."""
        self._deliver(subject, payload)
        if self._nats is not None and self._nats.connected:
            self._waiting.append((subject, payload))
            self._wake.set()

    @contextmanager
    def subscribed(self, pattern: str, callback: Callback) -> Iterator[None]:
        """Call `callback(subject, payload)` while the block lasts; it must not wait.

        `pattern` is a subject, `*` standing for one token and a last `>` for one or more.
        """
        tokens = pattern.split(".")
        if "*" in tokens or tokens[-1] == ">":
            entry = (tokens, callback)
            self._patterns.append(entry)
            try:
                yield
            finally:
                self._patterns.remove(entry)
            return
        callbacks = self._exact.setdefault(pattern, [])
        callbacks.append(callback)
        try:
            yield
        finally:
            callbacks.remove(callback)
            if not callbacks:
                self._exact.pop(pattern, None)

    async def run(self) -> None:
        """Carry hints to and from other processes until cancelled."""
        if self._nats is None:
            return
        with self._nats.subscribed(f"{PREFIX}>", self._receive):
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    subject, payload = self._waiting.popleft()
                    await self._nats.publish(PREFIX + subject, payload)

    def _receive(self, subject: str, payload: bytes) -> None:
        self._deliver(subject.removeprefix(PREFIX), payload)

    def _deliver(self, subject: str, payload: bytes) -> None:
        callbacks = list(self._exact.get(subject, ()))
        if self._patterns:
            tokens = subject.split(".")
            callbacks += [callback for pattern, callback in self._patterns if _matches(pattern, tokens)]
        for callback in callbacks:
            try:
                callback(subject, payload)
            except Exception:  # one listener's fault is not another's loss
                _log.exception(HINT_FAILED, subject=subject)


def _matches(pattern: list[str], tokens: list[str]) -> bool:
    if pattern[-1] == ">":
        head = pattern[:-1]
        if len(tokens) <= len(head):
            return False
    elif len(tokens) != len(pattern):
        return False
    else:
        head = pattern
    return all(wanted in ("*", token) for wanted, token in zip(head, tokens, strict=False))


@asynccontextmanager
async def open_hints(*, nats: Nats | None) -> AsyncIterator[Hints]:
    """Hints over `nats`, or in this process alone."""
    hints = Hints(nats=nats)
    task = asyncio.create_task(hints.run(), name="hints")
    try:
        yield hints
    finally:
        task.cancel()
        await asyncio.wait({task})
