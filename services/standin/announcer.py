"""What the client of a prompt is told about its nodes, and what the history keeps of that."""

import time
from collections.abc import Iterable
from typing import Any

from services.standin.frame import Frame, text_frame
from services.standin.model.graph import Graph
from services.standin.model.node import Blocker
from services.standin.model.prompt import QueuedPrompt
from services.standin.model.value import JsonObject
from services.standin.progress import FrameSink


class Announcer:
    """Speaks for one execution. A prompt without a client is spoken of only where the protocol broadcasts."""

    def __init__(self, item: QueuedPrompt, *, graph: Graph, sink: FrameSink) -> None:
        self._item = item
        self._graph = graph
        self._sink = sink
        self.client_id: Any = item.extra_data.get("client_id")
        self.messages: list[tuple[str, JsonObject]] = []
        """What the history keeps: the same data as the frames, whether or not there is a client."""

    def started(self) -> None:
        """The prompt was taken up."""
        self._keep("execution_start", {"prompt_id": self._item.prompt_id})

    def cached(self, node_ids: list[str]) -> None:
        """These nodes need not run."""
        self._keep("execution_cached", {"nodes": node_ids, "prompt_id": self._item.prompt_id})

    def executing(self, node_id: str) -> None:
        """A node is looked at; not a sign that another one ended."""
        self._address("executing", self._place(node_id))

    def executed(self, node_id: str, output: Any) -> None:
        """A node has ui data, or is an output that was cached."""
        place = self._place(node_id)
        data = {"node": place["node"], "display_node": place["display_node"], "output": output}
        self._address("executed", {**data, "prompt_id": self._item.prompt_id})

    def succeeded(self) -> None:
        """Every wanted output is there."""
        self._keep("execution_success", {"prompt_id": self._item.prompt_id})

    def failed(self, node_id: str, report: JsonObject, *, executed: Iterable[str], known: list[str]) -> None:
        """A node failed, and the prompt with it."""
        data = {**self._blame(node_id, executed), **report, "current_outputs": known}
        self._keep("execution_error", data)

    def interrupted(self, node_id: str, *, executed: Iterable[str]) -> None:
        """An interrupt took effect at this node."""
        self._keep("execution_interrupted", self._blame(node_id, executed), everybody=True)

    def blocked(self, node_id: str, blocker: Blocker, *, executed: Iterable[str]) -> None:
        """A branch does not run, and says why. The prompt goes on and the history keeps nothing of it."""
        data = {
            "prompt_id": self._item.prompt_id,
            "node_id": node_id,
            "node_type": self._graph.node(node_id)["class_type"],
            "executed": list(executed),
            "exception_message": f"Execution Blocked: {blocker.message}",
            "exception_type": "ExecutionBlocked",
            "traceback": [],
            "current_inputs": [],
            "current_outputs": [],
        }
        self._send("execution_error", data)

    def _blame(self, node_id: str, executed: Iterable[str]) -> JsonObject:
        return {
            "prompt_id": self._item.prompt_id,
            "node_id": node_id,
            "node_type": self._item.prompt[node_id]["class_type"],
            "executed": list(executed),
        }

    def _place(self, node_id: str) -> JsonObject:
        return {"node": node_id, "display_node": self._graph.display(node_id), "prompt_id": self._item.prompt_id}

    def _keep(self, event: str, data: JsonObject, *, everybody: bool = False) -> None:
        stamped = {**data, "timestamp": int(time.time() * 1000)}
        self.messages.append((event, stamped))
        if everybody:
            self._send(event, stamped)
        else:
            self._address(event, stamped)

    def _address(self, event: str, data: JsonObject) -> None:
        if self.client_id is not None:
            self._send(event, data)

    def _send(self, event: str, data: JsonObject) -> None:
        self._sink.send(Frame(client_id=self.client_id, payload=text_frame(event, data)))
