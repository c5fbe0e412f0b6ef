"""What the run room knows of a workflow: one immutable version of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from services.common.graph import Graph
from services.common.json_bytes import JsonValue, canonical_json
from services.common.parameters import Parameter
from services.run.model.blank import Blank


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkflowVersion:
    """One version of a workflow, ready for any number of runs. Nobody changes `graph`."""

    workflow_id: str
    slug: str
    display_name: str
    number: int
    content_hash: str
    graph: Graph
    graph_json: bytes
    """`graph` as canonical JSON."""
    blanks: tuple[Blank, ...]
    """The placeholders of `graph`."""
    parameters: tuple[Parameter, ...]
    output_keys: Mapping[str, str]
    """Key of the output definition by node id."""
    node_classes: frozenset[str]


def graph_bytes(graph: Graph) -> bytes:
    """A graph as canonical JSON."""
    return canonical_json(cast("JsonValue", graph))
