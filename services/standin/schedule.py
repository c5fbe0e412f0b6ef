"""Which node is next: the part of the graph that the wanted outputs need, dissolved from its sources."""

import asyncio
import inspect
from collections.abc import Callable

from services.standin.catalogue import Catalogue
from services.standin.model.failure import DependencyCycle, UnusableInput
from services.standin.model.graph import Graph, is_link, links
from services.standin.model.node import NodeDefinition


class Schedule:
    """The nodes still to do, in the order in which they were found, and who waits for whom.

    A node can be looked at and put back: after it asked for a lazy input, or while its coroutine runs.
    """

    def __init__(self, *, graph: Graph, catalogue: Catalogue, is_cached: Callable[[str], bool]) -> None:
        self._graph = graph
        self._catalogue = catalogue
        self._is_cached = is_cached
        self._waits_for: dict[str, int] = {}
        self._needed_by: dict[str, dict[str, None]] = {}
        self._working = 0
        self._woken = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._waits_for)

    def add(self, node_id: str) -> None:
        """Adds a node and everything that it needs and that is not cached; lazy inputs wait to be asked for."""
        found = [node_id]
        needs: list[tuple[str, str]] = []
        while found:
            current = found.pop()
            if current in self._waits_for:
                continue
            self._waits_for[current] = 0
            self._needed_by[current] = {}
            node = self._graph.node(current)
            definition = self._catalogue[node["class_type"]]
            for name, source, _ in links(node["inputs"]):
                if not definition.is_lazy(name) and not self._is_cached(source):
                    found.append(source)
                    needs.append((source, current))
        for source, current in needs:
            self.need(source, by=current)

    def need(self, node_id: str, *, by: str) -> None:
        """Lets one node wait for another, unless that one is cached."""
        if self._is_cached(node_id):
            return
        self.add(node_id)
        if by not in self._needed_by[node_id]:
            self._needed_by[node_id][by] = None
            self._waits_for[by] += 1

    def need_input(self, name: str, *, by: str) -> None:
        """Lets a node wait for the source of its lazy input. Raises UnusableInput."""
        inputs = self._graph.node(by)["inputs"]
        if name not in inputs:
            raise UnusableInput(f"Node {by} needs its input {name}, which it does not have")
        if not is_link(inputs[name]):
            raise UnusableInput(f"Node {by} needs its input {name}, which is a literal")
        self.need(inputs[name][0], by=by)

    def hold(self, node_id: str) -> Callable[[], None]:
        """Keeps a node back while its coroutine runs; call what is returned when it is done."""
        self._working += 1
        self._waits_for[node_id] += 1

        def release() -> None:
            self._working -= 1
            self._waits_for[node_id] -= 1
            self._woken.set()

        return release

    async def next(self) -> str:
        """The next node that waits for nothing. Raises DependencyCycle, whose text is the id of a node in it."""
        ready = self._ready()
        while not ready and self._working:
            await self._woken.wait()
            self._woken.clear()
            ready = self._ready()
        if not ready:
            raise DependencyCycle(self._blamed())
        return self._best(ready)

    def done(self, node_id: str) -> None:
        """Takes a finished node out."""
        del self._waits_for[node_id]
        for waiting in self._needed_by.pop(node_id):
            self._waits_for[waiting] -= 1

    def _ready(self) -> list[str]:
        return [node_id for node_id, count in self._waits_for.items() if count == 0]

    def _best(self, ready: list[str]) -> str:
        """Outputs and coroutines first, then what leads to an output in one step, then in two."""
        for node_id in ready:
            definition = self._definition(node_id)
            if definition.output_node or inspect.iscoroutinefunction(definition.run):
                return node_id
        for node_id in ready:
            if any(self._definition(one).output_node for one in self._needed_by[node_id]):
                return node_id
        for node_id in ready:
            if any(
                self._definition(two).output_node for one in self._needed_by[node_id] for two in self._needed_by[one]
            ):
                return node_id
        return ready[0]

    def _definition(self, node_id: str) -> NodeDefinition:
        return self._catalogue[self._graph.node(node_id)["class_type"]]

    def _blamed(self) -> str:
        """A node of the cycle, by preference the posted node whose expansion closed it."""
        left: dict[str, set[str]] = {node_id: set() for node_id in self._waits_for}
        for source, waiting in self._needed_by.items():
            for node_id in waiting:
                left[node_id].add(source)
        while free := [node_id for node_id, sources in left.items() if not sources]:
            for node_id in free:
                del left[node_id]
            for sources in left.values():
                sources.difference_update(free)
        for node_id in left:
            if self._graph.display(node_id) != node_id:
                return self._graph.display(node_id)
        return next(iter(left), "")
