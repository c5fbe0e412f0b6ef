"""The one thread in which prompts execute, one at a time."""

import asyncio
import logging
import threading
from typing import Any

from services.standin.execution import Execution, Workshop
from services.standin.frame import Frame, text_frame
from services.standin.history import History
from services.standin.model.prompt import Outcome, QueuedPrompt, history_entry
from services.standin.queue import PromptQueue

_log = logging.getLogger(__name__)


class Worker:
    """Takes prompts from the queue, executes them and keeps their outcome in the history.

    1. The prompt is taken, and counts as running.
    2. It executes.
    3. The history gets its entry, and the queue forgets it.
    4. Its client is told `executing` with node null: the one sign that follows every kind of end.
    """

    def __init__(self, *, queue: PromptQueue, history: History, workshop: Workshop) -> None:
        self._queue = queue
        self._history = history
        self._workshop = workshop
        self._client_id: Any = None
        self._node_id: str | None = None
        self._forget = threading.Event()
        self._thread = threading.Thread(target=self._work, name="standin-worker", daemon=True)

    def executing(self) -> tuple[Any, str | None]:
        """The client of the latest prompt, and the node that runs now."""
        return self._client_id, self._node_id

    def forget_results(self) -> None:
        """Lets the next prompt find nothing cached."""
        self._forget.set()

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Waits, in seconds, for the thread to end."""
        self._thread.join(timeout)

    def _work(self) -> None:
        with asyncio.Runner() as runner:
            while (item := self._queue.take()) is not None:
                if self._forget.is_set():
                    self._forget.clear()
                    self._workshop.cache.forget()
                self._execute(item, runner)
                self._count_down_to_death()

    def _execute(self, item: QueuedPrompt, runner: asyncio.Runner) -> None:
        self._client_id = item.extra_data.get("client_id")
        execution = Execution(item, workshop=self._workshop, now_running=self._note_node)
        try:
            outcome = runner.run(execution.run())
        except Exception:
            _log.exception("standin.execution_broke")
            outcome = Outcome(success=False, messages=[], outputs={}, meta={})
        self._drop_tasks(runner)
        self._node_id = None
        self._queue.finish(lambda: self._history.record(item.prompt_id, history_entry(item, outcome)))
        if self._client_id is not None:
            ended = text_frame("executing", {"node": None, "prompt_id": item.prompt_id})
            self._workshop.sink.send(Frame(client_id=self._client_id, payload=ended))

    def _note_node(self, node_id: str | None) -> None:
        self._node_id = node_id

    def _count_down_to_death(self) -> None:
        if self._workshop.knobs.count_down("die_after_prompts") == 1:
            self._workshop.die()

    @staticmethod
    def _drop_tasks(runner: asyncio.Runner) -> None:
        """Coroutines of a prompt that failed must not live on into the next."""
        tasks = asyncio.all_tasks(runner.get_loop())
        if tasks:
            for task in tasks:
                task.cancel()
            runner.run(_settled(tasks))


async def _settled(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
