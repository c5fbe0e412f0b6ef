"""The queue of prompts: filled by the server's loop, emptied by the one worker thread."""

import heapq
import threading
from collections.abc import Callable
from typing import Any

from services.standin.model.prompt import QueuedPrompt


class TiedPrompts(Exception):
    """Two pending prompts share number and id. The prompt *is* queued; only the answer to its POST fails."""


class PromptQueue:
    """Pending prompts in heap order, and the one that runs.

    `changed` is called with the number of running and pending prompts after every change that clients are told of.
    """

    def __init__(self, *, changed: Callable[[int], None]) -> None:
        self._changed = changed
        self._lock = threading.RLock()
        self._filled = threading.Condition(self._lock)
        self._heap: list[tuple[tuple[float, str], int, QueuedPrompt]] = []
        self._running: QueuedPrompt | None = None
        self._arrivals = 0
        self._closed = False

    def put(self, item: QueuedPrompt) -> None:
        """Queues a prompt. Raises TiedPrompts, after queuing it, if its place in the line is not unique."""
        with self._lock:
            key = item.sort_key()
            tied = any(key == waiting for waiting, _, _ in self._heap)
            self._arrivals += 1
            heapq.heappush(self._heap, (key, self._arrivals, item))
            self._filled.notify()
            if tied:
                raise TiedPrompts(item.prompt_id)
            self._changed(self.remaining())

    def take(self) -> QueuedPrompt | None:
        """Waits for the next prompt, which then counts as running; None once the queue is closed."""
        with self._filled:
            while not self._heap and not self._closed:
                self._filled.wait()
            if self._closed:
                return None
            self._running = heapq.heappop(self._heap)[2]
            self._changed(self.remaining())
            return self._running

    def finish(self, record: Callable[[], None]) -> None:
        """The running prompt ended; `record` keeps it in the history before anybody sees the queue without it."""
        with self._lock:
            self._running = None
            record()
            self._changed(self.remaining())

    def close(self) -> None:
        """Lets the worker go once it has finished what it runs."""
        with self._filled:
            self._closed = True
            self._filled.notify_all()

    def remaining(self) -> int:
        """Running plus pending prompts."""
        with self._lock:
            return len(self._heap) + (self._running is not None)

    def is_running(self, prompt_id: Any) -> bool:
        """Whether the prompt that runs now has this id."""
        with self._lock:
            return self._running is not None and self._running.prompt_id == prompt_id

    def wire(self) -> dict[str, list[list[Any]]]:
        """The answer to `GET /queue`. Pending prompts come in heap order, which is not the order they run in."""
        with self._lock:
            running = [] if self._running is None else [self._running.wire()]
            return {"queue_running": running, "queue_pending": [item.wire() for _, _, item in self._heap]}

    def clear(self) -> None:
        """Forgets every pending prompt."""
        with self._lock:
            self._heap = []
            self._changed(self.remaining())

    def delete(self, prompt_id: Any) -> None:
        """Forgets one pending prompt with this id, if there is one."""
        with self._lock:
            for place, (_, _, item) in enumerate(self._heap):
                if item.prompt_id != prompt_id:
                    continue
                if len(self._heap) == 1:
                    self.clear()
                else:
                    self._heap.pop(place)
                    heapq.heapify(self._heap)
                self._changed(self.remaining())
                return
