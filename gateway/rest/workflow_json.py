"""Workflows, their versions and parameters: JSON from the contract, and the contract from JSON."""

from typing import Any

from comfyfleet.registry.v1 import workflow_pb2

from gateway.fields import Fields
from gateway.json_answer import opaque, time_text, word

_TYPES = {
    name.removeprefix("PARAMETER_TYPE_").lower(): number
    for name, number in workflow_pb2.ParameterType.items()
    if number
}


def workflow_json(workflow: workflow_pb2.Workflow, *, full: bool = False) -> dict[str, Any]:
    """A workflow with one version; the graph is there only in the full view."""
    return {
        "id": workflow.id,
        "team_id": workflow.team_id,
        "team_name": workflow.team_name,
        "slug": workflow.slug,
        "display_name": workflow.display_name,
        "description": workflow.description or None,
        "tags": list(workflow.tags),
        "create_time": time_text(workflow, "create_time"),
        "update_time": time_text(workflow, "update_time"),
        "latest_version": workflow.latest_version,
        "version": version_json(workflow.version, full=full) if workflow.HasField("version") else None,
    }


def version_json(version: workflow_pb2.WorkflowVersion, *, full: bool = False) -> dict[str, Any]:
    """One version of a workflow."""
    body: dict[str, Any] = {
        "number": version.number,
        "create_time": time_text(version, "create_time"),
        "note": version.note or None,
        "content_hash": version.content_hash,
        "parameters": [parameter_json(parameter) for parameter in version.parameters],
        "parameters_discovered": version.parameters_discovered,
        "outputs": [output_definition_json(output) for output in version.outputs],
        "node_classes": list(version.node_classes),
    }
    if full:
        body["graph"] = opaque(version.graph_json)
    return body


def parameter_json(parameter: workflow_pb2.Parameter) -> dict[str, Any]:
    """One parameter. `default` is there only where one is set: null is a value."""
    body: dict[str, Any] = {
        "key": parameter.key,
        "type": word(workflow_pb2.ParameterType, parameter.type, "PARAMETER_TYPE_"),
        "label": parameter.label or None,
        "description": parameter.description or None,
        "required": parameter.required,
        "minimum": opaque(parameter.minimum_json),
        "maximum": opaque(parameter.maximum_json),
        "step": opaque(parameter.step_json),
        "options": [opaque(option) for option in parameter.options_json],
        "accept": list(parameter.accept),
        "multiple": parameter.multiple,
        "targets": [{"node_id": target.node_id, "input": target.input} for target in parameter.targets],
        "source": word(workflow_pb2.ParameterSource, parameter.source, "PARAMETER_SOURCE_"),
        "typed_by_catalogue": parameter.typed_by_catalogue,
    }
    if parameter.default_json:
        body["default"] = opaque(parameter.default_json)
    return body


def output_definition_json(output: workflow_pb2.OutputDefinition) -> dict[str, Any]:
    """One output that matters."""
    return {"key": output.key, "node_id": output.node_id, "kind": output.kind or None}


def parameter_of(fields: Fields) -> workflow_pb2.Parameter:
    """A parameter definition, as a caller gives it; also as we print it, so that what was read can be sent back."""
    made = workflow_pb2.Parameter(
        key=fields.text("key") or "",
        type=fields.choice("type", _TYPES) or workflow_pb2.PARAMETER_TYPE_UNSPECIFIED,
        label=fields.text("label") or "",
        description=fields.text("description") or "",
        required=fields.boolean("required") or False,
        default_json=fields.json_or_null("default") or b"",
        minimum_json=fields.json("minimum") or b"",
        maximum_json=fields.json("maximum") or b"",
        step_json=fields.json("step") or b"",
        options_json=fields.json_list("options") or (),
        accept=fields.strings("accept") or (),
        multiple=fields.boolean("multiple") or False,
        targets=fields.items("targets", _target_of) or (),
    )
    for printed in ("source", "typed_by_catalogue"):  # the registry finds these itself
        fields.ignore(printed)
    return made


def output_definition_of(fields: Fields) -> workflow_pb2.OutputDefinition:
    """An output definition."""
    return workflow_pb2.OutputDefinition(
        key=fields.text("key") or "", node_id=fields.text("node_id") or "", kind=fields.text("kind") or ""
    )


def _target_of(fields: Fields) -> workflow_pb2.ParameterTarget:
    return workflow_pb2.ParameterTarget(node_id=fields.text("node_id") or "", input=fields.text("input") or "")
