"""The graph of a running prompt: the nodes that were posted, and those that nodes put in their own place."""

from collections.abc import Iterable, Mapping
from typing import Any

from services.standin.model.failure import MissingNode

Node = dict[str, Any]


def is_link(value: Any) -> bool:
    """Whether an input value is a link, `[node id, output index]`; any other value is a literal."""
    return (
        isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int | float)
    )


class Graph:
    """Nodes by id, with the parent of each node that an expansion brought."""

    def __init__(self, prompt: Mapping[str, Node]) -> None:
        self.prompt = prompt
        self._grown: dict[str, Node] = {}
        self._parents: dict[str, str] = {}

    def __contains__(self, node_id: str) -> bool:
        return node_id in self.prompt or node_id in self._grown

    def node(self, node_id: str) -> Node:
        """The node itself. Raises MissingNode."""
        found = self._grown.get(node_id) or self.prompt.get(node_id)
        if found is None:
            raise MissingNode(f"Node {node_id} not found")
        return found

    def grow(self, node_id: str, node: Node, *, parent: str) -> None:
        """Adds a node that stands for a part of `parent`."""
        self._grown[node_id] = node
        self._parents[node_id] = parent

    def parent(self, node_id: str) -> str | None:
        """The node that an expansion put this one in for; None for a posted node."""
        return self._parents.get(node_id)

    def real(self, node_id: str) -> str:
        """The posted node that this one belongs to."""
        while node_id in self._parents:
            node_id = self._parents[node_id]
        return node_id

    def display(self, node_id: str) -> str:
        """The node under which clients show this one: the posted one, since no node here asks for another."""
        return self.real(node_id)


class SubgraphBuilder:
    """Builds the graph that a node puts in its own place. Ids are `<node>.<call>.<graph>.<number from 1>`."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.nodes: dict[str, Node] = {}

    def add(self, class_type: str, /, **inputs: Any) -> str:
        """Adds a node and gives its id; link to it by `[id, output index]`."""
        node_id = f"{self._prefix}{len(self.nodes) + 1}"
        self.nodes[node_id] = {"class_type": class_type, "inputs": inputs}
        return node_id


def links(inputs: Mapping[str, Any]) -> Iterable[tuple[str, str, Any]]:
    """Every link among the inputs: (input name, source node id, output index)."""
    for name, value in inputs.items():
        if is_link(value):
            yield name, value[0], value[1]
