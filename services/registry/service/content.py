"""From what a caller gives to the content of a version: checked, completed by discovery, hashed."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from services.common.errors import InvalidArgument
from services.common.graph import Graph, node_classes, read_graph
from services.common.json_bytes import JsonValue, canonical_json
from services.common.parameters import OutputDefinition, Parameter
from services.registry.discovery import (
    Discovery,
    NodeCatalogue,
    check_placeholders,
    discover,
    placeholder_targets,
)
from services.registry.model.definition_json import content_hash
from services.registry.model.definition_rules import (
    MAX_VIOLATIONS,
    check_amount,
    check_definitions,
    with_placeholder_targets,
)
from services.registry.service.catalogue_library import CatalogueLibrary
from services.registry.store import VersionContent

T = TypeVar("T")

THREAD_BYTES = 256 * 1024
"""From here on a graph is worked on in a thread: an 8 MiB one would hold up everybody for a second."""


@dataclass(frozen=True, kw_only=True)
class SizedGraph:
    """A checked graph, and how large it was as text."""

    graph: Graph
    size_bytes: int

    @classmethod
    async def read(cls, data: bytes) -> "SizedGraph":
        """The graph in `data`; InvalidArgument."""
        return cls(graph=await _aside(len(data), lambda: read_graph(data)), size_bytes=len(data))

    async def aside(self, work: Callable[[Graph], T]) -> T:
        """What `work` gives, off the event loop where the graph is large."""
        return await _aside(self.size_bytes, lambda: work(self.graph))


class ContentMaker:
    """Makes the content of versions."""

    def __init__(self, *, library: CatalogueLibrary) -> None:
        self._library = library

    async def discover(self, team_id: str, graph: SizedGraph) -> Discovery:
        """What a graph has; InvalidArgument if its placeholders contradict one another or are too many."""
        catalogue = await self._library.best_for(team_id, await graph.aside(node_classes))
        return await graph.aside(lambda value: _discovered(value, catalogue))

    async def make(
        self,
        *,
        team_id: str,
        graph: SizedGraph,
        parameters: Sequence[Parameter] | None,
        outputs: Sequence[OutputDefinition],
        note: str,
    ) -> VersionContent:
        """The content; `parameters` None: discovered. InvalidArgument with all violations."""
        if parameters is not None:
            return await graph.aside(lambda value: _given(value, parameters, outputs, note))
        found = await self.discover(team_id, graph)
        return await graph.aside(lambda value: _with_discovered(value, found, outputs, note))


async def _aside(size_bytes: int, work: Callable[[], T]) -> T:
    """A thread for a small graph would cost more than the work."""
    return work() if size_bytes < THREAD_BYTES else await asyncio.to_thread(work)


def _discovered(graph: Graph, catalogue: NodeCatalogue | None) -> Discovery:
    found = discover(graph, catalogue)
    violations = [*check_placeholders(graph, None), *check_amount(found.parameters, found.outputs)]
    if violations:
        raise InvalidArgument(violations=violations[:MAX_VIOLATIONS])
    return found


def _given(
    graph: Graph, parameters: Sequence[Parameter], outputs: Sequence[OutputDefinition], note: str
) -> VersionContent:
    settled = with_placeholder_targets(parameters, placeholder_targets(graph)) if parameters else ()
    violations = [*check_definitions(graph, settled, outputs), *check_placeholders(graph, settled or None)]
    if violations:
        raise InvalidArgument(violations=violations[:MAX_VIOLATIONS])
    return _content(graph, settled, outputs, note, discovered=False)


def _with_discovered(graph: Graph, found: Discovery, outputs: Sequence[OutputDefinition], note: str) -> VersionContent:
    if violations := check_definitions(graph, (), outputs):
        raise InvalidArgument(violations=violations)
    return _content(graph, found.parameters, outputs, note, discovered=True)


def _content(
    graph: Graph, parameters: Sequence[Parameter], outputs: Sequence[OutputDefinition], note: str, *, discovered: bool
) -> VersionContent:
    value = cast("JsonValue", graph)
    return VersionContent(
        graph=canonical_json(value),
        parameters=tuple(parameters),
        outputs=tuple(outputs),
        parameters_discovered=discovered,
        node_classes=tuple(node_classes(graph)),
        content_hash=content_hash(value, parameters, outputs),
        note=note,
    )
