"""Results kept from one prompt to the next.

A result is found by what it was made of: the class and inputs of the node and of everything above it, never by
node ids alone. Each prompt starts by dropping what it has no use for. Nodes that an expansion brought have a
layer of their own under the node they stand for.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from services.standin.catalogue import Catalogue
from services.standin.folders import Folders
from services.standin.model.graph import Graph, links
from services.standin.model.node import NodeDefinition
from services.standin.model.value import JsonObject

Outputs = list[list[Any]]
Key = Any


class _Unequal:
    """Equal to nothing but itself, so that what holds it is never found again."""


class _Layer:
    """Results of the nodes of one graph, or of one expansion."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.places: dict[str, tuple[str, str]] = {}
        self.outputs: dict[Key, Outputs] = {}
        self.ui: dict[Key, JsonObject] = {}
        self.state: dict[tuple[str, str], dict[str, Any]] = {}
        self.below: dict[tuple[str, str], _Layer] = {}

    def drop_unused(self) -> None:
        keys, places = set(self.keys.values()), set(self.places.values())
        self.outputs = {key: kept for key, kept in self.outputs.items() if key in keys}
        self.ui = {key: kept for key, kept in self.ui.items() if key in keys}
        self.state = {place: kept for place, kept in self.state.items() if place in places}
        self.below = {place: kept for place, kept in self.below.items() if place in places}

    def node_ids(self) -> list[str]:
        return [*self.keys, *(node_id for layer in self.below.values() for node_id in layer.node_ids())]


class ResultCache:
    """Outputs, ui data and node memories of a stand-in. Used by the worker thread only."""

    def __init__(self, *, catalogue: Catalogue, folders: Folders) -> None:
        self._catalogue = catalogue
        self._folders = folders
        self._top = _Layer()
        self._graph = Graph({})
        self._fingerprints: dict[str, Any] = {}

    def forget(self) -> None:
        """Drops everything."""
        self._top = _Layer()

    def begin(self, graph: Graph) -> None:
        """Makes ready for a prompt."""
        self._graph = graph
        self._fingerprints = {}
        self._name(self._top, graph.prompt)

    def expand(self, parent: str, node_ids: Iterable[str]) -> None:
        """Makes ready for nodes that take the place of `parent`; they are in the graph already."""
        layer = self._layer(parent)
        if layer is None:
            return
        place = layer.places[parent]
        self._name(layer.below.setdefault(place, _Layer()), node_ids)

    def outputs(self, node_id: str) -> Outputs | None:
        """What the node gave, or None if it has to run."""
        layer = self._layer(node_id)
        return None if layer is None else layer.outputs.get(layer.keys.get(node_id))

    def ui(self, node_id: str) -> JsonObject | None:
        """The node's `{"meta", "output"}`, if it had ui data."""
        layer = self._layer(node_id)
        return None if layer is None else layer.ui.get(layer.keys.get(node_id))

    def keep_outputs(self, node_id: str, outputs: Outputs) -> None:
        """Remembers what the node gave."""
        layer = self._layer(node_id)
        if layer is not None:
            layer.outputs[layer.keys[node_id]] = outputs

    def keep_ui(self, node_id: str, ui: JsonObject) -> None:
        """Remembers the node's ui data."""
        layer = self._layer(node_id)
        if layer is not None:
            layer.ui[layer.keys[node_id]] = ui

    def state(self, node_id: str) -> dict[str, Any]:
        """The node's own memory."""
        layer = self._layer(node_id)
        return {} if layer is None else layer.state.setdefault(layer.places[node_id], {})

    def node_ids(self) -> list[str]:
        """Every node that the cache knows in this prompt, expansions included."""
        return self._top.node_ids()

    def _layer(self, node_id: str) -> _Layer | None:
        ancestry = []
        parent = self._graph.parent(node_id)
        while parent is not None:
            ancestry.append(parent)
            parent = self._graph.parent(parent)
        layer = self._top
        for ancestor in reversed(ancestry):
            found = layer.below.get(layer.places.get(ancestor, ("", "")))
            if found is None:
                return None
            layer = found
        return layer

    def _name(self, layer: _Layer, node_ids: Iterable[str]) -> None:
        ids = [node_id for node_id in node_ids if node_id in self._graph]
        layer.places = {node_id: (node_id, self._graph.node(node_id)["class_type"]) for node_id in ids}
        layer.keys = {node_id: self._key(node_id) for node_id in ids}
        layer.drop_unused()

    def _key(self, node_id: str) -> Key:
        order = self._ancestors(node_id)
        return tuple(self._part(one, order) for one in (node_id, *order))

    def _ancestors(self, node_id: str) -> dict[str, int]:
        """The nodes above this one, numbered in the order in which its inputs lead to them."""
        order: dict[str, int] = {}
        ways = [self._sources(node_id)]
        while ways:
            source = next(ways[-1], None)
            if source is None:
                ways.pop()
            elif source not in order:
                order[source] = len(order)
                ways.append(self._sources(source))
        return order

    def _sources(self, node_id: str) -> Any:
        if node_id not in self._graph:
            return iter(())
        inputs = self._graph.node(node_id)["inputs"]
        return iter([source for _, source, _ in sorted(links(inputs), key=lambda link: link[0])])

    def _part(self, node_id: str, order: Mapping[str, int]) -> Key:
        if node_id not in self._graph:
            return _Unequal()
        node = self._graph.node(node_id)
        definition = self._catalogue[node["class_type"]]
        own_id = node_id if definition.not_idempotent or "UNIQUE_ID" in definition.hidden.values() else None
        linked = {name: (order[source], output) for name, source, output in links(node["inputs"])}
        inputs = tuple(
            (name, "link", linked[name]) if name in linked else (name, "literal", _comparable(value))
            for name, value in sorted(node["inputs"].items())
        )
        return (node["class_type"], self._fingerprint(node_id, node, definition), own_id, inputs)

    def _fingerprint(self, node_id: str, node: Mapping[str, Any], definition: NodeDefinition) -> Any:
        if definition.fingerprint is None:
            return None
        if node_id not in self._fingerprints:
            known = definition.inputs()
            linked = {name for name, _, _ in links(node["inputs"])}
            literals = {name: value for name, value in node["inputs"].items() if name in known}
            arguments = {name: None if name in linked else value for name, value in literals.items()}
            try:
                self._fingerprints[node_id] = _comparable(definition.fingerprint(self._folders, **arguments))
            except Exception:
                self._fingerprints[node_id] = _Unequal()
        return self._fingerprints[node_id]


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return ("object", tuple(sorted((key, _comparable(one)) for key, one in value.items())))
    if isinstance(value, list):
        return ("list", tuple(_comparable(one) for one in value))
    return value if isinstance(value, int | float | str | None) else _Unequal()
