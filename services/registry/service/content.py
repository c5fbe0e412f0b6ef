"""From what a caller gives to the content of a version: checked, completed by discovery, hashed."""

import asyncio
from collections.abc import Sequence

from services.common.errors import InvalidArgument, Violation
from services.common.graph import Graph, node_classes, read_graph
from services.common.json_bytes import canonical_json
from services.common.parameters import OutputDefinition, Parameter
from services.registry.discovery import Discovery, check_placeholders, discover, placeholder_targets
from services.registry.model.definition_json import content_hash
from services.registry.model.definition_rules import check_amount, check_definitions, with_placeholder_targets
from services.registry.service.catalogue_library import CatalogueLibrary
from services.registry.store import VersionContent

THREAD_BYTES = 256 * 1024
THREAD_NODES = 300
"""From here on a graph is read in a thread: an 8 MiB one would hold up everybody for half a second."""


async def read_graph_aside(data: bytes) -> Graph:
    """`read_graph`, off the event loop where the graph is large."""
    return read_graph(data) if len(data) < THREAD_BYTES else await asyncio.to_thread(read_graph, data)


class ContentMaker:
    """Makes the content of versions."""

    def __init__(self, *, library: CatalogueLibrary) -> None:
        self._library = library

    async def discover(self, team_id: str, graph: Graph) -> Discovery:
        """What a graph has; InvalidArgument if its placeholders contradict one another or are too many."""
        catalogue = await self._library.best_for(team_id, node_classes(graph))
        large = len(graph) > THREAD_NODES
        found = await asyncio.to_thread(discover, graph, catalogue) if large else discover(graph, catalogue)
        violations = [*check_placeholders(graph, None), *check_amount(found.parameters, found.outputs)]
        if violations:
            raise InvalidArgument(violations=violations)
        return found

    async def make(
        self,
        *,
        team_id: str,
        graph: Graph,
        parameters: Sequence[Parameter] | None,
        outputs: Sequence[OutputDefinition],
        note: str,
    ) -> VersionContent:
        """The content; `parameters` None: discovered. InvalidArgument with all violations."""
        discovered = parameters is None
        if parameters is None:
            found = await self.discover(team_id, graph)
            settled = found.parameters
            violations: list[Violation] = check_definitions(graph, (), outputs)
        else:
            settled = with_placeholder_targets(parameters, placeholder_targets(graph))
            violations = check_definitions(graph, settled, outputs)
            violations += check_placeholders(graph, settled or None)
        if violations:
            raise InvalidArgument(violations=violations)
        graph_json, hash_ = await asyncio.to_thread(
            lambda: (canonical_json(graph), content_hash(graph, settled, outputs))  # type: ignore[arg-type]
        )
        return VersionContent(
            graph=graph_json,
            parameters=settled,
            outputs=tuple(outputs),
            parameters_discovered=discovered,
            node_classes=tuple(node_classes(graph)),
            content_hash=hash_,
            note=note,
        )
