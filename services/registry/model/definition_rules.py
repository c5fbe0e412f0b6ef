"""Rules of definitions that a caller gives, against each other and against the graph: every violation at once."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from services.common.errors import Violation
from services.common.graph import MAX_NAME_CHARACTERS, Graph, find_input, is_link
from services.common.json_bytes import canonical_json
from services.common.parameters import (
    OutputDefinition,
    Parameter,
    ParameterTarget,
    ParameterType,
    Refused,
    checked_value,
)
from services.common.parameters.file_reference import is_media_pattern
from services.registry.model.definition_json import output_to_json, parameter_to_json
from services.registry.model.request import check_text

MAX_DEFINITIONS = 1000
MAX_DEFINITION_BYTES = 1024 * 1024
"""Of all definitions of a version together, as JSON: they travel in every BASIC view."""
MAX_OPTIONS = 1000
MAX_TARGETS = 256
MAX_VIOLATIONS = 50
RESERVED_KEYS = frozenset({"_run"})
"""Names of form parts that are no parameter."""

_MEASURED = {ParameterType.STRING, ParameterType.INTEGER, ParameterType.NUMBER}
_NUMERIC = {ParameterType.INTEGER, ParameterType.NUMBER}


def with_placeholder_targets(
    parameters: Sequence[Parameter], targets: dict[str, tuple[ParameterTarget, ...]]
) -> tuple[Parameter, ...]:
    """A parameter without targets lands in the placeholders of its name."""
    return tuple(p if p.targets else replace(p, targets=targets.get(p.key, ())) for p in parameters)


def check_definitions(
    graph: Graph, parameters: Sequence[Parameter], outputs: Sequence[OutputDefinition]
) -> list[Violation]:
    """Everything wrong with the definitions of a version; fields are `parameters[0].…` and `outputs[0].…`."""
    found = [*check_amount(parameters, outputs)]
    if not found:
        found = [*_check_parameters(graph, parameters), *_check_outputs(graph, outputs)]
    return found[:MAX_VIOLATIONS]


def check_amount(parameters: Sequence[Parameter], outputs: Sequence[OutputDefinition]) -> Iterator[Violation]:
    """Too many or too large definitions, discovered ones too."""
    for field, definitions in (("parameters", parameters), ("outputs", outputs)):
        if len(definitions) > MAX_DEFINITIONS:
            yield Violation(field, "TOO_MANY", f"Give at most {MAX_DEFINITIONS}.")
            return
    size = len(canonical_json([*map(parameter_to_json, parameters), *map(output_to_json, outputs)]))
    if size > MAX_DEFINITION_BYTES:
        yield Violation("parameters", "TOO_LARGE", f"Give definitions of at most {MAX_DEFINITION_BYTES} bytes of JSON.")


def _check_parameters(graph: Graph, parameters: Sequence[Parameter]) -> Iterator[Violation]:
    keys: set[str] = set()
    places: set[ParameterTarget] = set()
    for index, parameter in enumerate(parameters):
        field = f"parameters[{index}]"
        yield from _check_key(f"{field}.key", parameter.key, keys)
        yield from check_text(f"{field}.label", parameter.label, most=200)
        yield from check_text(f"{field}.description", parameter.description, most=10_000, lines=True)
        yield from _check_bounds(field, parameter)
        yield from _check_options(field, parameter)
        yield from _check_accept(field, parameter)
        yield from _check_default(field, parameter)
        yield from _check_targets(field, graph, parameter, places)


def _check_key(field: str, key: str, keys: set[str]) -> Iterator[Violation]:
    yield from check_text(field, key, least=1, most=128)
    if key in keys:
        yield Violation(field, "DUPLICATE_KEY", "Give each key once.")
    elif key in RESERVED_KEYS:
        yield Violation(field, "RESERVED_KEY", "Give another key; this one has a meaning in forms.")
    keys.add(key)


def _check_bounds(field: str, parameter: Parameter) -> Iterator[Violation]:
    low, high, step = parameter.minimum, parameter.maximum, parameter.step
    whole = parameter.type in (ParameterType.INTEGER, ParameterType.STRING)
    for name, bound in (("minimum_json", low), ("maximum_json", high)):
        if bound is None:
            continue
        if parameter.type not in _MEASURED:
            yield Violation(f"{field}.{name}", "NOT_BOUNDED", f"A {parameter.type} has no bounds; leave it out.")
        elif whole and not isinstance(bound, int):
            yield Violation(f"{field}.{name}", "WRONG_TYPE", "Give a whole number.")
    if low is not None and high is not None and low > high:
        yield Violation(f"{field}.minimum_json", "OUT_OF_RANGE", "Give a minimum that is not above the maximum.")
    if step is not None and (parameter.type not in _NUMERIC or step <= 0):
        yield Violation(f"{field}.step_json", "OUT_OF_RANGE", "Give a step above 0, of a number or integer only.")


def _check_options(field: str, parameter: Parameter) -> Iterator[Violation]:
    field, options = f"{field}.options_json", parameter.options
    if parameter.type is not ParameterType.SELECT:
        if options:
            yield Violation(field, "NOT_A_SELECT", "Give options to a select only.")
        return
    if not 1 <= len(options) <= MAX_OPTIONS:
        yield Violation(field, "BAD_LENGTH", f"Give 1 to {MAX_OPTIONS} options.")
    if any(isinstance(option, list | dict) or option is None for option in options):
        yield Violation(field, "WRONG_TYPE", "Give strings, numbers and booleans.")
    if len({canonical_json(option) for option in options}) < len(options):
        yield Violation(field, "DUPLICATE_OPTION", "Give each option once.")


def _check_accept(field: str, parameter: Parameter) -> Iterator[Violation]:
    if parameter.accept and parameter.type is not ParameterType.FILE:
        yield Violation(f"{field}.accept", "NOT_A_FILE", "Give media types to a file only.")
    for pattern in parameter.accept[:MAX_OPTIONS]:
        if not is_media_pattern(pattern):
            yield Violation(f"{field}.accept", "BAD_MEDIA_TYPE", "Give patterns such as image/png or image/*.")
            return


def _check_default(field: str, parameter: Parameter) -> Iterator[Violation]:
    if parameter.default is None:
        return
    value = parameter.default.value
    if parameter.multiple and not isinstance(value, list):
        yield Violation(f"{field}.default_json", "WRONG_TYPE", "Give a list.")
        return
    for item in value if parameter.multiple and isinstance(value, list) else [value]:
        try:
            checked_value(parameter, item)
        except Refused as refused:
            yield Violation(f"{field}.default_json", refused.reason, refused.message)
            return


def _check_targets(field: str, graph: Graph, parameter: Parameter, places: set[ParameterTarget]) -> Iterator[Violation]:
    if not 1 <= len(parameter.targets) <= MAX_TARGETS:
        message = f"Give 1 to {MAX_TARGETS} places in the graph, or name a placeholder of the graph."
        yield Violation(f"{field}.targets", "BAD_LENGTH", message)
    for index, target in enumerate(parameter.targets[:MAX_TARGETS]):
        place = f"{field}.targets[{index}]"
        node = graph.get(target.node_id)
        if node is None:
            yield Violation(f"{place}.node_id", "UNKNOWN_NODE", "Give the id of a node of the graph.")
        elif (found := find_input(node["inputs"], target.input)) is None:
            yield Violation(f"{place}.input", "UNKNOWN_INPUT", "Give an input that stands at that node.")
        elif is_link(found.value):
            yield Violation(f"{place}.input", "INPUT_IS_LINKED", "Give an input that is not linked to another node.")
        elif target in places:
            yield Violation(place, "DUPLICATE_TARGET", "Set each place by one parameter.")
        places.add(target)


def _check_outputs(graph: Graph, outputs: Sequence[OutputDefinition]) -> Iterator[Violation]:
    keys: set[str] = set()
    for index, output in enumerate(outputs):
        field = f"outputs[{index}]"
        yield from _check_key(f"{field}.key", output.key, keys)
        yield from check_text(f"{field}.kind", output.kind, most=64)
        if len(output.node_id) > MAX_NAME_CHARACTERS or output.node_id not in graph:
            yield Violation(f"{field}.node_id", "UNKNOWN_NODE", "Give the id of a node of the graph.")
