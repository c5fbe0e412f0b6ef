"""How far an execution is, from the frames about it. Pure but for the stopwatch handed in."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from services.dispatcher.drivers.comfyui.failure import storable
from services.dispatcher.drivers.driver import Stopwatch
from services.dispatcher.model.ending import NodeTiming
from services.dispatcher.model.progress import Progress

Json = dict[str, Any]


class ProgressTracker:
    """Counts nodes of the graph and the steps of those that execute; the fraction never falls.

    Expanded nodes (`4.0.0.2`) count as a part of the node that they stand for; several nodes may execute at once.
    """

    def __init__(self, classes: Mapping[str, str], *, stopwatch: Stopwatch) -> None:
        self._classes = classes
        self._stopwatch = stopwatch
        self._began: float | None = None
        self._done: set[str] = set()
        self._running: dict[str, tuple[float, float]] = {}
        self._node = ""
        self._text = ""
        self._fraction = 0.0
        self._node_began: dict[str, float] = {}
        self._spent: dict[str, float] = {}
        self._expected_frames: dict[str, int] = {}

    def begin(self) -> None:
        """The backend began; elapsed time counts from the first call."""
        if self._began is None:
            self._began = self._stopwatch()

    @property
    def elapsed(self) -> timedelta:
        """Since the backend began; 0 before."""
        return timedelta(seconds=self._stopwatch() - self._began) if self._began is not None else timedelta(0)

    def cached(self, nodes: object) -> None:
        """These nodes need no execution."""
        if isinstance(nodes, list):
            self._done.update(node for node in nodes if isinstance(node, str) and node in self._classes)

    def executing(self, node: object) -> None:
        """This node begins, or goes on after a lazy input."""
        if isinstance(node, str):
            if node != self._node:
                self._text = ""
            self._node = node
            self._node_began.setdefault(node, self._stopwatch())

    def stepped(self, body: Json) -> None:
        """A `progress` frame: one node's steps."""
        node, value, maximum = body.get("node"), _number(body.get("value")), _number(body.get("max"))
        if isinstance(node, str) and maximum > 0:
            self._node = node
            self._running[node] = (min(value, maximum), maximum)
            self._expected_frames[node] = max(self._expected_frames.get(node, 0), int(maximum))

    def state(self, nodes: object) -> None:
        """A `progress_state` frame: all nodes that have executed or do."""
        if not isinstance(nodes, dict):
            return
        for node_id, told in nodes.items():
            if not isinstance(told, dict):
                continue
            if told.get("state") == "finished":
                self._finish(node_id)
            elif told.get("state") == "running":
                maximum = _number(told.get("max"))
                self._running[node_id] = (min(_number(told.get("value")), maximum), maximum)

    def said(self, text: str) -> None:
        """The node that executes reports a text."""
        self._text = storable(text)[:1024]

    def expected_frames(self, node_id: str) -> int:
        """How many pictures a node of frames announced; 0: it announced none."""
        return self._expected_frames.get(node_id, 0)

    def now(self) -> Progress:
        """Where it stands."""
        total = len(self._classes)
        partial = sum(
            value / maximum for node, (value, maximum) in self._running.items() if maximum > 0 and node in self._classes
        )
        if total:
            self._fraction = max(self._fraction, min(1.0, (len(self._done) + partial) / total))
        value, maximum = self._running.get(self._node, (0.0, 0.0))
        return Progress(
            fraction=self._fraction,
            node_id=storable(self._node[:256]),
            node_class=self._classes.get(self._node, ""),
            node_value=value,
            node_maximum=maximum,
            nodes_done=len(self._done),
            nodes_total=total,
            text=self._text,
            elapsed=self.elapsed,
        )

    def timings(self) -> tuple[NodeTiming, ...]:
        """How long each node of the graph executed, as the frames showed it."""
        return tuple(NodeTiming(node_id=node, duration=timedelta(seconds=spent)) for node, spent in self._spent.items())

    def _finish(self, node_id: str) -> None:
        self._running.pop(node_id, None)
        if node_id not in self._classes or node_id in self._done:
            return
        self._done.add(node_id)
        began = self._node_began.pop(node_id, None)
        if began is not None:
            self._spent[node_id] = self._stopwatch() - began


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 <= value < 1e15 else 0.0
