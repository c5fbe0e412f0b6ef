"""Placeholders where they stand in a graph."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.common.graph import Graph, literals
from services.common.json_bytes import JsonValue
from services.common.parameters import Placeholder, parse_placeholder


@dataclass(frozen=True, kw_only=True, slots=True)
class Blank:
    """One string of a graph that stands for a value of the run."""

    node_id: str
    steps: tuple[str | int, ...]
    """Name of the input, then keys and indexes into a structured literal."""
    placeholder: Placeholder

    @property
    def path(self) -> str:
        """The place as targets of parameters name it."""
        return ".".join(str(step) for step in self.steps)


def find_blanks(graph: Graph) -> tuple[Blank, ...]:
    """Every placeholder of a graph, inside structured literals too."""
    return tuple(
        Blank(node_id=literal.node_id, steps=steps, placeholder=placeholder)
        for literal in literals(graph)
        for steps, placeholder in _within((literal.input,), literal.value)
    )


def _within(steps: tuple[str | int, ...], value: JsonValue) -> Iterator[tuple[tuple[str | int, ...], Placeholder]]:
    """The placeholders in one literal; its depth is bounded by the parser of graphs."""
    if isinstance(value, str):
        placeholder = parse_placeholder(value)
        if placeholder is not None:
            yield steps, placeholder
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _within((*steps, index), item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _within((*steps, key), item)
