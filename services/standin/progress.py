"""How far each node of the running prompt is, and the frames that say so."""

from dataclasses import dataclass
from typing import Any, Protocol

from services.standin.frame import Frame, Preview, described_preview_frame, preview_frame, text_frame
from services.standin.model.graph import Graph
from services.standin.model.value import JsonObject


class FrameSink(Protocol):
    """Where frames go."""

    def send(self, frame: Frame) -> None:
        """Puts a frame in line."""
        ...

    def wants_described_previews(self, client_id: Any) -> bool:
        """Whether this client asked for previews with metadata."""
        ...


@dataclass(kw_only=True)
class _Mark:
    value: float = 0
    limit: float = 1
    finished: bool = False


class Progress:
    """The progress of one prompt. Frames go to its client, or to everybody when it has none."""

    def __init__(self, *, prompt_id: str, client_id: Any, graph: Graph, sink: FrameSink) -> None:
        self._prompt_id = prompt_id
        self._client_id = client_id
        self._graph = graph
        self._sink = sink
        self._marks: dict[str, _Mark] = {}

    def start(self, node_id: str) -> None:
        """The node begins, or begins again."""
        self._marks[node_id] = self._marks.get(node_id, _Mark())
        mark = self._marks[node_id]
        mark.value, mark.limit, mark.finished = 0.0, 1.0, False
        self._tell_state()

    def update(self, node_id: str, value: float, limit: float, preview: Preview | None) -> None:
        """The node did a part of its work."""
        mark = self._marks.setdefault(node_id, _Mark())
        mark.value, mark.limit, mark.finished = value, limit, False
        self._tell_state()
        described = preview is not None and self._sink.wants_described_previews(self._client_id)
        if preview is not None and described:
            description = {**self._ids(node_id), "prompt_id": self._prompt_id}
            order = ("node_id", "prompt_id", "display_node_id", "parent_node_id", "real_node_id")
            self._send(described_preview_frame(preview, {key: description[key] for key in order}))
        report = {"value": value, "max": limit, "prompt_id": self._prompt_id, "node": node_id}
        self._send(text_frame("progress", report))
        if preview is not None and not described:
            self._send(preview_frame(preview))

    def finish(self, node_id: str) -> None:
        """The node is done, or was cached."""
        mark = self._marks.setdefault(node_id, _Mark())
        mark.value, mark.finished = mark.limit, True
        self._tell_state()

    def _tell_state(self) -> None:
        nodes: JsonObject = {
            node_id: {
                "value": mark.value,
                "max": mark.limit,
                "state": "finished" if mark.finished else "running",
                "node_id": node_id,
                "prompt_id": self._prompt_id,
                **self._ids(node_id, with_own=False),
            }
            for node_id, mark in self._marks.items()
        }
        self._send(text_frame("progress_state", {"prompt_id": self._prompt_id, "nodes": nodes}))

    def _ids(self, node_id: str, *, with_own: bool = True) -> JsonObject:
        ids: JsonObject = {"node_id": node_id} if with_own else {}
        return {
            **ids,
            "display_node_id": self._graph.display(node_id),
            "parent_node_id": self._graph.parent(node_id),
            "real_node_id": self._graph.real(node_id),
        }

    def _send(self, payload: str | bytes) -> None:
        self._sink.send(Frame(client_id=self._client_id, payload=payload))
