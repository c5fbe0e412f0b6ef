"""Values into the graph of one run: pure.

In this order, later ones winning: (1) placeholders with a value of their own, (2) defaults and given parameters,
(3) overrides. A placeholder that then still has no value is a violation. Values are placed as they are, so a 64-bit
seed stays exact, and a caller's text that looks like a placeholder stays text. Files stand in the graph as file ids;
the dispatcher replaces them by their names at the backend.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from services.common.errors import Violation
from services.common.graph import Graph, find_input
from services.common.json_bytes import JsonValue
from services.common.parameters import (
    FileReferenceKind,
    Parameter,
    ParameterType,
    PlaceholderKind,
    file_reference_kind,
    with_defaults,
)
from services.run.model.blank import Blank

FILE_INPUTS = {
    "LoadImage": "image",
    "LoadImageMask": "image",
    "LoadImageOutput": "image",
    "LoadAudio": "audio",
    "LoadVideo": "file",
    "LoadLatent": "latent",
    "Load3D": "model_file",
    "VHS_LoadVideo": "video",
    "VHS_LoadAudioUpload": "audio",
}
"""Inputs of well-known node classes that name a file: a file reference there is a file, whatever set it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedFile:
    """A file reference that stands in the graph."""

    field: str
    """The field of the request that gave it."""
    node_id: str
    path: str
    reference: str
    """A file id or a `data:` URI."""
    accept: tuple[str, ...] = ()
    position: int | None = None
    """Place in a list input."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """A graph with its values, and what is wrong with them."""

    graph: Graph
    changed: bool
    """False: `graph` is the very graph that was given."""
    files: tuple[PlacedFile, ...]
    violations: tuple[Violation, ...]


def place(
    graph: Graph,
    *,
    blanks: Sequence[Blank],
    definitions: Sequence[Parameter],
    values: Mapping[str, JsonValue],
    overrides: JsonValue,
    random: Callable[[], int],
    moment_ms: int,
) -> Placed:
    """Put the values into a copy of `graph`, which stays as it is.

    `values` are validated ones by parameter key. `random` gives another 64-bit integer at each call; `moment_ms` is
    the run's one moment, in Unix milliseconds. Violations name `parameters.<key>`, `overrides.<node>[.inputs.<input>]`
    and `graph.<node>.inputs.<input>`.
    """
    draft = _Draft(graph)
    filled = with_defaults(definitions, values)
    open_blanks = [blank for blank in blanks if not _fill(draft, blank, filled, random, moment_ms)]
    for parameter in definitions:
        if parameter.key in filled:
            _place_parameter(draft, parameter, filled[parameter.key])
    _place_overrides(draft, overrides)
    reported = {parameter.key for parameter in definitions if parameter.required and parameter.key not in filled}
    for blank in open_blanks:
        if (blank.node_id, blank.path) not in draft.written and blank.placeholder.name not in reported:
            message = f"Give a value for the placeholder {blank.placeholder.name!r}."
            field = f"graph.{blank.node_id}.inputs.{blank.path}"
            draft.violations.append(Violation(field, "MISSING_PARAMETER", message))
    files = tuple(_files(draft, definitions))
    return Placed(
        graph=draft.graph if draft.changed else graph,
        changed=draft.changed,
        files=files,
        violations=tuple(draft.violations),
    )


def with_file_ids(placed: Placed, file_ids: Sequence[str]) -> Graph:
    """The graph of `placed` with the id of each of its `files`, in their order, in the place of the reference."""
    draft = _Draft(placed.graph)
    for file, file_id in zip(placed.files, file_ids, strict=True):
        if file.reference != file_id:
            position = "" if file.position is None else f".{file.position}"
            draft.set(file.node_id, f"{file.path}{position}", file_id)
    return draft.graph


class _Draft:
    """A graph being filled: nodes are copied when first written."""

    def __init__(self, graph: Graph) -> None:
        self.graph: Graph = dict(graph)
        self.written: dict[tuple[str, str], str] = {}
        """The field of the request that last set a place."""
        self.violations: list[Violation] = []
        self._owned: set[str] = set()

    @property
    def changed(self) -> bool:
        return bool(self._owned)

    def set(self, node_id: str, path: str, value: JsonValue) -> bool:
        """Put `value` at `path` of the node's inputs; False if there is no such node, or no such place inside one."""
        if node_id not in self.graph:
            return False
        inputs = self._inputs(node_id)
        place = find_input(inputs, path)
        if place is not None:
            place.set(value)
        elif "." in path:
            return False
        else:
            inputs[path] = value  # an optional input that the graph leaves out
        return True

    def fill(self, blank: Blank, value: JsonValue) -> None:
        """Put `value` in the place of a placeholder."""
        container: Any = self._inputs(blank.node_id)
        for step in blank.steps[:-1]:
            container = container[step]
        container[blank.steps[-1]] = value

    def _inputs(self, node_id: str) -> dict[str, Any]:
        """The inputs of a node, ours to change."""
        node = self.graph[node_id]
        if node_id not in self._owned:
            self._owned.add(node_id)
            node = self.graph[node_id] = {**node, "inputs": deepcopy(node["inputs"])}
        inputs: dict[str, Any] = node["inputs"]
        return inputs


def _fill(
    draft: _Draft, blank: Blank, filled: Mapping[str, JsonValue], random: Callable[[], int], moment_ms: int
) -> bool:
    """Give a placeholder the value that it has by itself; False if it has none."""
    placeholder = blank.placeholder
    value: JsonValue
    match placeholder.kind:
        case PlaceholderKind.RANDOM:
            value = random()
        case PlaceholderKind.TIMESTAMP:
            value = moment_ms
        case _ if placeholder.name in filled:
            value = filled[placeholder.name]
        case PlaceholderKind.TEXT if placeholder.default is not None:
            value = placeholder.default
        case PlaceholderKind.CHOICE:
            value = placeholder.options[0]
        case _:
            return False
    draft.fill(blank, value)
    return True


def _place_parameter(draft: _Draft, parameter: Parameter, value: JsonValue) -> None:
    field = f"parameters.{parameter.key}"
    for target in parameter.targets:
        if draft.set(target.node_id, target.input, value):
            draft.written[target.node_id, target.input] = field
        else:
            message = f"The graph has no input {target.input!r} at node {target.node_id!r}."
            draft.violations.append(Violation(field, "BAD_TARGET", message))


def _place_overrides(draft: _Draft, overrides: JsonValue) -> None:
    if not isinstance(overrides, dict):
        if overrides is not None:
            draft.violations.append(Violation("overrides", "NOT_AN_OBJECT", "Give an object of node id to inputs."))
        return
    for node_id, given in overrides.items():
        field = f"overrides.{node_id}"
        if node_id not in draft.graph:
            draft.violations.append(Violation(field, "UNKNOWN_NODE", "The graph has no such node."))
            continue
        inputs = given.get("inputs") if isinstance(given, dict) else None
        if not isinstance(given, dict) or not isinstance(inputs, dict) or given.keys() != {"inputs"}:
            message = 'Give an object with "inputs" alone, which is an object of input to value.'
            draft.violations.append(Violation(field, "BAD_OVERRIDE", message))
            continue
        for name, value in inputs.items():
            if name not in draft.graph[node_id]["inputs"]:
                message = "The node has no such input in the graph."
                draft.violations.append(Violation(f"{field}.inputs.{name}", "UNKNOWN_INPUT", message))
                continue
            draft.set(node_id, name, value)
            draft.written[node_id, name] = f"{field}.inputs.{name}"


def _files(draft: _Draft, definitions: Sequence[Parameter]) -> Iterator[PlacedFile]:
    """Every file reference that stands in the graph at a place for files, once."""
    places = {
        (target.node_id, target.input): parameter
        for parameter in definitions
        if parameter.type is ParameterType.FILE
        for target in parameter.targets
    }
    for node_id, node in draft.graph.items():
        name = FILE_INPUTS.get(node["class_type"])
        if name is not None:
            places.setdefault((node_id, name), _LOADER)
    for (node_id, path), parameter in places.items():
        found = find_input(draft.graph[node_id]["inputs"], path) if node_id in draft.graph else None
        if found is None:
            continue
        field = draft.written.get((node_id, path), f"graph.{node_id}.inputs.{path}")
        items = found.value if isinstance(found.value, list) and parameter.multiple else [found.value]
        for index, reference in enumerate(items):
            position = index if parameter.multiple else None
            item_field = field if position is None else f"{field}[{index}]"
            file = PlacedFile(
                field=item_field,
                node_id=node_id,
                path=path,
                reference=reference if isinstance(reference, str) else "",
                accept=parameter.accept,
                position=position,
            )
            match file_reference_kind(file.reference):
                case FileReferenceKind.URL:
                    message = "Upload the file and give its id, or give a data: URI; URLs are not fetched yet."
                    draft.violations.append(Violation(item_field, "URL_NOT_TAKEN", message))
                case FileReferenceKind.ID | FileReferenceKind.DATA:
                    yield file
                case None:
                    continue  # the name of a file that the backend has, or a link


_LOADER = Parameter(key="", type=ParameterType.FILE)
