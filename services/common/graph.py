"""A ComfyUI graph in API format: its shape checked, its literals and links found.

API format is one JSON object of node id to `{"class_type", "inputs", "_meta"}`; an input is a literal or a link
`["<node id>", <output index>]`. What the editor saves by default (`nodes` and `links`) is another format. Whether a
backend has the node classes is not asked here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from services.common.errors import InvalidArgument, Violation
from services.common.json_bytes import InvalidJson, JsonValue, parse_json

MAX_GRAPH_BYTES = 8 * 1024 * 1024
MAX_GRAPH_DEPTH = 64
MAX_NODES = 10_000
MAX_NAME_CHARACTERS = 256
MAX_PATH_CHARACTERS = 1024
MAX_VIOLATIONS = 50
"""A graph that is wrong everywhere is named this often: violations travel in trailers, which are small."""

Graph = dict[str, dict[str, Any]]
"""A checked graph: node id to node."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """An input that takes another node's output."""

    node_id: str
    input: str
    source_id: str
    output: int


@dataclass(frozen=True, kw_only=True)
class Literal:
    """An input whose value stands in the graph."""

    node_id: str
    input: str
    value: JsonValue


@dataclass(frozen=True, kw_only=True)
class InputPlace:
    """One place of a node's inputs, to be read and set."""

    container: Any
    """The object or list that holds it."""
    step: str | int

    @property
    def value(self) -> JsonValue:
        return cast("JsonValue", self.container[self.step])

    def set(self, value: JsonValue) -> None:
        self.container[self.step] = value


def read_graph(data: bytes, *, field: str = "graph_json") -> Graph:
    """The graph in `data`; InvalidArgument with every violation, of JSON or of shape."""
    try:
        value = parse_json(data, max_bytes=MAX_GRAPH_BYTES, max_depth=MAX_GRAPH_DEPTH)
    except InvalidJson as error:
        place = "" if error.path == "$" else f" At {error.path[:200]}."
        raise InvalidArgument(violations=[Violation(field, error.reason, f"{error.message}{place}")]) from None
    if violations := check_graph(value, field=field):
        raise InvalidArgument(violations=violations)
    return cast("Graph", value)


def check_graph(value: JsonValue, *, field: str = "graph_json") -> list[Violation]:
    """Everything wrong with the shape of a graph, at most `MAX_VIOLATIONS`; a right one gives none.

    Reasons: NOT_AN_OBJECT, UI_FORMAT, EMPTY_GRAPH, TOO_MANY_NODES, NOT_A_NODE, MISSING_CLASS, MISSING_INPUTS, BAD_NAME,
    UNKNOWN_LINK_SOURCE, BAD_LINK_OUTPUT, CYCLE. Fields are `graph_json.<node id>[.inputs.<input>]`.
    """
    if not isinstance(value, dict):
        return [Violation(field, "NOT_AN_OBJECT", "Give a JSON object of node id to node (ComfyUI's API format).")]
    if isinstance(value.get("nodes"), list):
        message = "This is the editor's format. Export the workflow in API format and give that."
        return [Violation(field, "UI_FORMAT", message)]
    if not value:
        return [Violation(field, "EMPTY_GRAPH", "Give a graph with at least one node.")]
    if len(value) > MAX_NODES:
        return [Violation(field, "TOO_MANY_NODES", f"Give a graph of at most {MAX_NODES} nodes.")]
    violations: list[Violation] = []
    for node_id, node in value.items():
        violations.extend(_check_node(f"{field}.{node_id[:MAX_NAME_CHARACTERS]}", node_id, node))
        if len(violations) > MAX_VIOLATIONS:
            break
    if not violations:
        graph = cast("Graph", value)
        violations = [v for link in links(graph) if (v := _check_link(graph, link, field)) is not None]
        violations = violations or _cycles(graph, field)
    return violations[:MAX_VIOLATIONS]


def is_link(value: JsonValue) -> bool:
    """Whether ComfyUI takes `value` for a link: a list of a string and a number."""
    return (
        isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int | float)
    )


def links(graph: Graph) -> Iterator[Link]:
    """Every link, in the order of the graph."""
    for node_id, node in graph.items():
        for name, value in node["inputs"].items():
            if is_link(value):
                whole = isinstance(value[1], int) or value[1].is_integer()
                yield Link(node_id=node_id, input=name, source_id=value[0], output=int(value[1]) if whole else -1)


def literals(graph: Graph) -> Iterator[Literal]:
    """Every input that is no link, in the order of the graph; structured ones as a whole."""
    for node_id, node in graph.items():
        for name, value in node["inputs"].items():
            if not is_link(value):
                yield Literal(node_id=node_id, input=name, value=value)


def node_classes(graph: Graph) -> list[str]:
    """The classes of the graph's nodes, sorted, each once."""
    return sorted({node["class_type"] for node in graph.values()})


def node_title(node: dict[str, Any]) -> str:
    """The title that its author gave a node, else its class."""
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    return title.strip() if isinstance(title, str) and title.strip() else str(node["class_type"])


def find_input(inputs: dict[str, Any], path: str) -> InputPlace | None:
    """The place that `path` names, None if there is none (a link is a place too).

    `path` is an input's name, or goes on into a structured literal with `.` between keys and indexes. Names of inputs
    and keys may hold dots themselves: the longest that fits wins.
    """
    container: Any = inputs
    rest = path
    while len(path) <= MAX_PATH_CHARACTERS:  # the search is quadratic in its dots
        step, rest = _longest_step(container, rest)
        if step is None:
            return None
        if not rest:
            return InputPlace(container=container, step=step)
        container = container[step]
    return None


def _longest_step(container: Any, path: str) -> tuple[str | int | None, str]:
    """The first step of `path` in `container` and what follows it; None where it leads nowhere."""
    if isinstance(container, list):
        head, _, rest = path.partition(".")
        fits = head.isascii() and head.isdigit() and len(head) < 8 and int(head) < len(container)
        return (int(head), rest) if fits else (None, "")
    if not isinstance(container, dict):
        return None, ""
    end = len(path)
    while end > 0:
        if path[:end] in container:
            return path[:end], path[end + 1 :]
        end = path.rfind(".", 0, end)
    return None, ""


def _check_node(field: str, node_id: str, node: JsonValue) -> Iterator[Violation]:
    if not isinstance(node, dict):
        yield Violation(field, "NOT_A_NODE", 'Give a node as an object with "class_type" and "inputs".')
        return
    if not 0 < len(node_id) <= MAX_NAME_CHARACTERS:
        yield Violation(field, "BAD_NAME", f"Give node ids of 1 to {MAX_NAME_CHARACTERS} characters.")
    class_type = node.get("class_type")
    if not isinstance(class_type, str) or not class_type:
        yield Violation(f"{field}.class_type", "MISSING_CLASS", "Give the class of the node as a string.")
    elif len(class_type) > MAX_NAME_CHARACTERS:
        yield Violation(f"{field}.class_type", "BAD_NAME", f"Give a class of at most {MAX_NAME_CHARACTERS} characters.")
    inputs = node.get("inputs")
    if not isinstance(inputs, dict):
        yield Violation(
            f"{field}.inputs", "MISSING_INPUTS", "Give the node's inputs as an object, empty if it has none."
        )
        return
    for name in inputs:
        if not 0 < len(name) <= MAX_NAME_CHARACTERS:
            message = f"Give input names of 1 to {MAX_NAME_CHARACTERS} characters."
            yield Violation(f"{field}.inputs.{name[:MAX_NAME_CHARACTERS]}", "BAD_NAME", message)


def _check_link(graph: Graph, link: Link, field: str) -> Violation | None:
    place = f"{field}.{link.node_id}.inputs.{link.input}"
    if link.source_id not in graph:
        return Violation(place, "UNKNOWN_LINK_SOURCE", f"Link to a node of the graph; {link.source_id[:64]!r} is none.")
    if link.output < 0:
        return Violation(place, "BAD_LINK_OUTPUT", "Link to an output by its index, from 0.")
    return None


def _cycles(graph: Graph, field: str) -> list[Violation]:
    """One violation for each link that closes a cycle. Iterative: how deep links go is the caller's choice."""
    sources: dict[str, list[str]] = {node_id: [] for node_id in graph}
    for link in links(graph):
        sources[link.node_id].append(link.source_id)
    violations: list[Violation] = []
    done: set[str] = set()
    for start in graph:
        path: dict[str, Iterator[str]] = {} if start in done else {start: iter(sources[start])}
        while path and len(violations) < MAX_VIOLATIONS:
            node_id = next(reversed(path))
            source = next(path[node_id], None)
            if source is None:
                done.add(node_id)
                path.pop(node_id)
            elif source in path:
                ring = [*list(path)[list(path).index(source) :], source]
                shown = " from ".join([*ring[:8], "…"] if len(ring) > 8 else ring)
                violations.append(Violation(f"{field}.{node_id}", "CYCLE", f"Remove the cycle: {shown[:300]}."))
            elif source not in done:
                path[source] = iter(sources[source])
    return violations
