"""The literal places of a graph: every string in it that is a placeholder, and every literal that is none."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.common.graph import Graph, literals
from services.common.json_bytes import JsonValue
from services.common.parameters import ParameterTarget, Placeholder, parse_placeholder


@dataclass(frozen=True, kw_only=True)
class Place:
    """One literal, or one placeholder inside of it."""

    target: ParameterTarget
    class_type: str
    input: str
    """Name of the input; `target.input` may lead further into it."""
    value: JsonValue
    placeholder: Placeholder | None

    @property
    def is_whole_input(self) -> bool:
        """Whether it is the input itself and not a part of its value."""
        return self.target.input == self.input


def places(graph: Graph) -> Iterator[Place]:
    """All places, in the order of the graph. A structured literal with placeholders inside gives only those."""
    for literal in literals(graph):
        class_type = graph[literal.node_id]["class_type"]
        inside = list(_placeholders(literal.value, literal.input))
        for path, text, placeholder in inside:
            yield Place(
                target=ParameterTarget(node_id=literal.node_id, input=path),
                class_type=class_type,
                input=literal.input,
                value=text,
                placeholder=placeholder,
            )
        if not inside:
            yield Place(
                target=ParameterTarget(node_id=literal.node_id, input=literal.input),
                class_type=class_type,
                input=literal.input,
                value=literal.value,
                placeholder=None,
            )


def _placeholders(value: JsonValue, path: str) -> Iterator[tuple[str, str, Placeholder]]:
    if isinstance(value, str):
        placeholder = parse_placeholder(value)
        if placeholder is not None:
            yield path, value, placeholder
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _placeholders(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _placeholders(item, f"{path}.{index}")
