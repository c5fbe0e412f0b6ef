"""What a node is given beside its inputs: where it runs and how it reports."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from services.standin.folders import Folders
from services.standin.frame import Frame, Preview, progress_text_frame
from services.standin.knobs import KnobBoard
from services.standin.model.failure import InterruptedExecution
from services.standin.model.graph import SubgraphBuilder
from services.standin.model.value import JsonObject
from services.standin.progress import FrameSink, Progress


class Interrupt:
    """The one interrupt flag of a server. Whoever finds it set takes it down."""

    def __init__(self) -> None:
        self._flag = threading.Event()
        self.stopped = threading.Event()
        """Set when the server goes away: nodes that wait must not keep it."""

    def set(self) -> None:
        """Asks the running prompt to stop at its next check."""
        self._flag.set()

    def clear(self) -> None:
        """Forgets an interrupt that found nothing to stop."""
        self._flag.clear()

    def check(self) -> None:
        """Raises InterruptedExecution if asked to stop."""
        if self._flag.is_set() or self.stopped.is_set():
            self._flag.clear()
            raise InterruptedExecution


@dataclass(frozen=True, kw_only=True)
class NodeCall:
    """One call of a node's function."""

    node_id: str
    prompt_id: str
    index: int
    prompt: JsonObject
    extra_pnginfo: JsonObject | None
    state: dict[str, Any]
    """The node's own memory; lives for as long as prompts have a node with this id and class."""
    folders: Folders
    knobs: KnobBoard
    interrupt: Interrupt
    progress: Progress
    sink: FrameSink
    _graphs: list[SubgraphBuilder] = field(default_factory=list)

    def report(self, value: float, limit: float, preview: Preview | None = None) -> None:
        """Reports progress; raises InterruptedExecution if the prompt is to stop."""
        self.interrupt.check()
        self.progress.update(self.node_id, min(value, limit), limit, preview)

    def say(self, text: str) -> None:
        """Sends a line of progress text, to every client: the recorded server does not address it."""
        self.sink.send(Frame(client_id=None, payload=progress_text_frame(self.node_id, text)))

    def block(self, seconds: float) -> None:
        """Works without reporting: no interrupt cuts it short, only the end of the server does."""
        if seconds > 0:
            self.interrupt.stopped.wait(seconds)

    def subgraph(self) -> SubgraphBuilder:
        """A builder for nodes that take this node's place."""
        builder = SubgraphBuilder(f"{self.node_id}.{self.index}.{len(self._graphs)}.")
        self._graphs.append(builder)
        return builder


NodeCalls = Callable[[int], NodeCall]
