"""Definitions between messages and model."""

from collections.abc import Iterable, Sequence

from comfyfleet.registry.v1 import workflow_pb2 as pb

from services.common.errors import InvalidArgument, Violation
from services.common.json_bytes import InvalidJson, JsonValue, canonical_json, parse_json
from services.common.parameters import (
    Default,
    OutputDefinition,
    Parameter,
    ParameterSource,
    ParameterTarget,
    ParameterType,
)

MAX_VALUE_BYTES = 1024 * 1024
MAX_VALUE_DEPTH = 64

_TYPES = {
    ParameterType.STRING: pb.PARAMETER_TYPE_STRING,
    ParameterType.INTEGER: pb.PARAMETER_TYPE_INTEGER,
    ParameterType.NUMBER: pb.PARAMETER_TYPE_NUMBER,
    ParameterType.BOOLEAN: pb.PARAMETER_TYPE_BOOLEAN,
    ParameterType.SELECT: pb.PARAMETER_TYPE_SELECT,
    ParameterType.FILE: pb.PARAMETER_TYPE_FILE,
    ParameterType.JSON: pb.PARAMETER_TYPE_JSON,
}
_TYPES_BACK = {number: type_ for type_, number in _TYPES.items()}
_SOURCES = {
    ParameterSource.GIVEN: pb.PARAMETER_SOURCE_UNSPECIFIED,
    ParameterSource.PLACEHOLDER: pb.PARAMETER_SOURCE_PLACEHOLDER,
    ParameterSource.LITERAL: pb.PARAMETER_SOURCE_LITERAL,
}
_SOURCES_BACK = {number: source for source, number in _SOURCES.items()}


def parameter_to_proto(parameter: Parameter) -> pb.Parameter:
    """A parameter as callers see it."""
    return pb.Parameter(
        key=parameter.key,
        type=_TYPES[parameter.type],
        label=parameter.label,
        description=parameter.description,
        required=parameter.required,
        default_json=b"" if parameter.default is None else canonical_json(parameter.default.value),
        minimum_json=_number_to_proto(parameter.minimum),
        maximum_json=_number_to_proto(parameter.maximum),
        step_json=_number_to_proto(parameter.step),
        options_json=[canonical_json(option) for option in parameter.options],
        accept=parameter.accept,
        multiple=parameter.multiple,
        targets=[pb.ParameterTarget(node_id=target.node_id, input=target.input) for target in parameter.targets],
        source=_SOURCES[parameter.source],
        typed_by_catalogue=parameter.typed_by_catalogue,
    )


def parameters_from_proto(messages: Iterable[pb.Parameter]) -> tuple[Parameter, ...]:
    """Definitions as a caller gives them; InvalidArgument with all that cannot even be read.

    What discovery gave may be given back: its `source` and `typed_by_catalogue` are kept.
    """
    violations: list[Violation] = []
    parameters = tuple(_parameter(f"parameters[{index}]", one, violations) for index, one in enumerate(messages))
    if violations:
        raise InvalidArgument(violations=violations[:50])
    return parameters


def output_to_proto(output: OutputDefinition) -> pb.OutputDefinition:
    """An output definition as callers see it."""
    return pb.OutputDefinition(key=output.key, node_id=output.node_id, kind=output.kind)


def outputs_from_proto(messages: Iterable[pb.OutputDefinition]) -> tuple[OutputDefinition, ...]:
    """Output definitions as a caller gives them."""
    return tuple(OutputDefinition(key=one.key, node_id=one.node_id, kind=one.kind) for one in messages)


def _parameter(field: str, message: pb.Parameter, violations: list[Violation]) -> Parameter:
    type_ = _TYPES_BACK.get(message.type)
    if type_ is None:
        violations.append(Violation(f"{field}.type", "MISSING_TYPE", "Give the type of the parameter."))
    default = _json(f"{field}.default_json", message.default_json, violations) if message.default_json else None
    return Parameter(
        key=message.key,
        type=type_ or ParameterType.JSON,
        label=message.label,
        description=message.description,
        required=message.required,
        default=Default(value=default) if message.default_json else None,
        minimum=_number(f"{field}.minimum_json", message.minimum_json, violations),
        maximum=_number(f"{field}.maximum_json", message.maximum_json, violations),
        step=_number(f"{field}.step_json", message.step_json, violations),
        options=_options(f"{field}.options_json", message.options_json, violations),
        accept=tuple(message.accept),
        multiple=message.multiple,
        targets=tuple(ParameterTarget(node_id=one.node_id, input=one.input) for one in message.targets),
        source=_SOURCES_BACK.get(message.source, ParameterSource.GIVEN),
        typed_by_catalogue=message.typed_by_catalogue,
    )


def _options(field: str, options: Sequence[bytes], violations: list[Violation]) -> tuple[JsonValue, ...]:
    return tuple(_json(f"{field}[{index}]", one, violations) for index, one in enumerate(options))


def _number(field: str, data: bytes, violations: list[Violation]) -> int | float | None:
    if not data:
        return None
    value = _json(field, data, violations)
    if isinstance(value, bool) or not isinstance(value, int | float):
        if not violations or violations[-1].field != field:
            violations.append(Violation(field, "WRONG_TYPE", "Give a JSON number."))
        return None
    return value


def _json(field: str, data: bytes, violations: list[Violation]) -> JsonValue:
    try:
        return parse_json(data, max_bytes=MAX_VALUE_BYTES, max_depth=MAX_VALUE_DEPTH)
    except InvalidJson as error:
        violations.append(Violation(field, error.reason, error.message))
        return None


def _number_to_proto(number: int | float | None) -> bytes:
    return b"" if number is None else canonical_json(number)
