"""Definitions as JSON: how rows keep them and what the content hash is taken over."""

import hashlib
from collections.abc import Sequence
from typing import Any

from services.common.json_bytes import JsonValue, canonical_json
from services.common.parameters import (
    Default,
    OutputDefinition,
    Parameter,
    ParameterSource,
    ParameterTarget,
    ParameterType,
)


def parameter_to_json(parameter: Parameter) -> dict[str, JsonValue]:
    """Only what differs from the defaults, so that a new attribute does not change old hashes."""
    made: dict[str, JsonValue] = {
        "key": parameter.key,
        "type": parameter.type.value,
        "label": parameter.label,
        "description": parameter.description,
        "required": parameter.required,
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
        "step": parameter.step,
        "options": list(parameter.options),
        "accept": list(parameter.accept),
        "multiple": parameter.multiple,
        "targets": [{"node_id": target.node_id, "input": target.input} for target in parameter.targets],
        "source": parameter.source.value,
        "typed_by_catalogue": parameter.typed_by_catalogue,
    }
    kept: dict[str, JsonValue] = {name: value for name, value in made.items() if value not in ("", None, False, [])}
    for name in ("minimum", "maximum", "step"):  # 0 equals False
        if made[name] is not None:
            kept[name] = made[name]
    if parameter.default is not None:
        kept["default"] = parameter.default.value
    return kept


def parameter_from_json(made: dict[str, Any]) -> Parameter:
    """Back from `parameter_to_json`."""
    return Parameter(
        key=made["key"],
        type=ParameterType(made["type"]),
        label=made.get("label", ""),
        description=made.get("description", ""),
        required=made.get("required", False),
        default=Default(value=made["default"]) if "default" in made else None,
        minimum=made.get("minimum"),
        maximum=made.get("maximum"),
        step=made.get("step"),
        options=tuple(made.get("options", ())),
        accept=tuple(made.get("accept", ())),
        multiple=made.get("multiple", False),
        targets=tuple(ParameterTarget(**target) for target in made.get("targets", ())),
        source=ParameterSource(made["source"]),
        typed_by_catalogue=made.get("typed_by_catalogue", False),
    )


def output_to_json(output: OutputDefinition) -> dict[str, JsonValue]:
    """An output definition as JSON."""
    return {"key": output.key, "node_id": output.node_id, "kind": output.kind}


def output_from_json(made: dict[str, Any]) -> OutputDefinition:
    """Back from `output_to_json`."""
    return OutputDefinition(**made)


def content_hash(graph: JsonValue, parameters: Sequence[Parameter], outputs: Sequence[OutputDefinition]) -> str:
    """SHA-256, in hex, of the canonical JSON of graph, parameters and outputs: equal content, equal hash."""
    content: JsonValue = {
        "graph": graph,
        "parameters": [parameter_to_json(parameter) for parameter in parameters],
        "outputs": [output_to_json(output) for output in outputs],
    }
    return hashlib.sha256(canonical_json(content)).hexdigest()
