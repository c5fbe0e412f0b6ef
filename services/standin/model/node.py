"""What a node class is: its sockets, as clients see them, and what it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

InputSpec = list[Any]
"""As on the wire: `[type]` or `[type, options]`, where type is a name or the list of choices."""


class Style(Enum):
    """The two shapes that a definition has in `/object_info`."""

    CLASSIC = "classic"
    SCHEMA = "schema"


@dataclass(frozen=True, kw_only=True)
class Blocker:
    """A value that keeps every node that receives it from running. Without a message it does so silently."""

    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class NodeResult:
    """What one call of a node gave.

    `outputs` is one value for each socket, a Blocker for all of them, or None for a node that has none.
    `ui` goes into `executed` frames and the history. `graph` replaces the node by other nodes; then `outputs`
    may hold links into that graph.
    """

    outputs: tuple[Any, ...] | Blocker | None = None
    ui: Mapping[str, list[Any]] | None = None
    graph: Mapping[str, dict[str, Any]] | None = None


@dataclass(frozen=True, kw_only=True)
class NodeDefinition:
    """A node class.

    `run(call, **inputs)` does the work: plain functions in the worker thread, coroutine functions side by side.
    It gives a NodeResult, a tuple of outputs, or a Blocker.
    """

    class_type: str
    run: Callable[..., Any]
    required: Mapping[str, InputSpec] = field(default_factory=dict)
    optional: Mapping[str, InputSpec] = field(default_factory=dict)
    hidden: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    output_names: tuple[str, ...] | None = None
    output_lists: tuple[bool, ...] | None = None
    output_tooltips: tuple[str, ...] | None = None
    display_name: str | None = None
    description: str = ""
    python_module: str = "nodes"
    category: str = "standin"
    output_node: bool = False
    style: Style = Style.CLASSIC
    marks: Mapping[str, bool] = field(default_factory=dict)
    """Of deprecated, experimental and api_node, what the definition says."""
    input_is_list: bool = False
    not_idempotent: bool = False
    listings: Mapping[str, Callable[[Any], list[str]]] = field(default_factory=dict)
    """Inputs whose choices are read from the folders at each question; the callable gets the Folders."""
    free_choices: frozenset[str] = frozenset()
    """Select inputs that accept any text: names of models, since the stand-in has none."""
    check_lazy: Callable[..., list[str]] | None = None
    """Given the inputs known so far, names the lazy inputs that are needed."""
    validate: Callable[..., bool | str] | None = None
    validated_inputs: tuple[str, ...] = ()
    """The literal inputs handed to `validate`, which then also answers for their bounds."""
    fingerprint: Callable[..., Any] | None = None
    """Given the folders and the literal inputs: a value that changes when a cached result must not be used."""

    def inputs(self) -> dict[str, InputSpec]:
        """Every visible input by name, required ones first."""
        return {**self.required, **self.optional}

    def spec(self, name: str) -> InputSpec | None:
        """The definition of a visible input, or None if there is no such input."""
        found = self.required.get(name)
        return found if found is not None else self.optional.get(name)

    def is_lazy(self, name: str) -> bool:
        """Whether the input is evaluated only when the node asks for it."""
        spec = self.spec(name)
        return spec is not None and len(spec) > 1 and bool(spec[1].get("lazy"))
