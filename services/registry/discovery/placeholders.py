"""Placeholders of a graph as parameters."""

from collections.abc import Sequence
from dataclasses import replace

from services.common.errors import Violation
from services.common.graph import Graph
from services.common.json_bytes import JsonValue
from services.common.parameters import (
    BadText,
    Default,
    Parameter,
    ParameterSource,
    ParameterTarget,
    ParameterType,
    PlaceholderKind,
    Refused,
    checked_value,
    value_of_text,
)
from services.registry.discovery.catalogue import InputSpec
from services.registry.discovery.places import Place, places


def placeholder_targets(graph: Graph) -> dict[str, tuple[ParameterTarget, ...]]:
    """Where the placeholders of each name stand."""
    found: dict[str, list[ParameterTarget]] = {}
    for place in places(graph):
        if place.placeholder is not None and place.placeholder.is_parameter:
            found.setdefault(place.placeholder.name, []).append(place.target)
    return {name: tuple(targets) for name, targets in found.items()}


def check_placeholders(
    graph: Graph, parameters: Sequence[Parameter] | None, *, field: str = "graph_json"
) -> list[Violation]:
    """Names that stand for two kinds, and, where `parameters` are given, placeholders that none of them sets."""
    kinds: dict[str, set[PlaceholderKind]] = {}
    unset: dict[str, ParameterTarget] = {}
    set_places = {target for parameter in parameters or () for target in parameter.targets}
    for place in places(graph):
        placeholder = place.placeholder
        if placeholder is None or not placeholder.is_parameter:
            continue
        kinds.setdefault(placeholder.name, set()).add(placeholder.kind)
        if parameters is not None and place.target not in set_places:
            unset.setdefault(placeholder.name, place.target)
    violations = [
        Violation(field, "PLACEHOLDER_CONFLICT", f"Use the name {name!r} for one kind of placeholder only.")
        for name, of_name in kinds.items()
        if len(of_name) > 1
    ]
    for name, target in unset.items():
        message = f"Define a parameter for the placeholder {name!r} at node {target.node_id[:64]!r}."
        violations.append(Violation("parameters", "UNDEFINED_PLACEHOLDER", message))
    return violations


def placeholder_parameter(group: Sequence[tuple[Place, InputSpec | None]]) -> Parameter:
    """The parameter of all placeholders of one name; their specs give its type if they agree.

    `$text` without a catalogue is a string. The first default wins; one that is no value of the type makes the
    parameter a string again.
    """
    first = group[0][0].placeholder
    assert first is not None
    specs = {spec for _, spec in group}
    spec = next(iter(specs)) if len(specs) == 1 else None
    targets = tuple(place.target for place, _ in group)
    description = spec.tooltip if spec is not None else ""
    if first.kind is PlaceholderKind.FILE:
        return Parameter(
            key=first.name, type=ParameterType.FILE, required=True, targets=targets, description=description,
            accept=spec.accept if spec is not None else (), source=ParameterSource.PLACEHOLDER,
            typed_by_catalogue=spec is not None and spec.from_catalogue,
        )  # fmt: skip
    if first.kind is PlaceholderKind.CHOICE:
        options, typed = _choice_options(first.options, spec)
        return Parameter(
            key=first.name, type=ParameterType.SELECT, options=options, default=Default(value=options[0]),
            targets=targets, description=description, source=ParameterSource.PLACEHOLDER, typed_by_catalogue=typed,
        )  # fmt: skip
    default = next(
        (p.placeholder.default for p, _ in group if p.placeholder and p.placeholder.default is not None), None
    )
    plain = Parameter(
        key=first.name, type=ParameterType.STRING, required=default is None, targets=targets, description=description,
        default=None if default is None else Default(value=default), source=ParameterSource.PLACEHOLDER,
    )  # fmt: skip
    return plain if spec is None else _typed(plain, spec, default)


def _typed(plain: Parameter, spec: InputSpec, default: str | None) -> Parameter:
    typed = Parameter(
        key=plain.key, type=spec.type, required=plain.required, minimum=spec.minimum, maximum=spec.maximum,
        step=spec.step, options=spec.options, accept=spec.accept, targets=plain.targets, source=plain.source,
        description=plain.description, typed_by_catalogue=spec.from_catalogue,
    )  # fmt: skip
    if default is None:
        return typed
    try:
        value = checked_value(typed, value_of_text(typed, default))
    except (BadText, Refused):
        return plain
    return replace(typed, default=Default(value=value))


def _choice_options(texts: Sequence[str], spec: InputSpec | None) -> tuple[tuple[JsonValue, ...], bool]:
    """The options as values of the input's type, if each of them is one."""
    distinct = tuple(dict.fromkeys(texts))
    if spec is None:
        return distinct, False
    as_input = Parameter(key="option", type=spec.type, minimum=spec.minimum, maximum=spec.maximum, options=spec.options)
    try:
        return tuple(checked_value(as_input, value_of_text(as_input, text)) for text in distinct), spec.from_catalogue
    except (BadText, Refused):
        return distinct, False
