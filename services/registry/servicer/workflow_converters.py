"""Workflows between messages and model."""

from comfyfleet.registry.v1 import registry_pb2, workflow_pb2

from services.common.errors import InvalidArgument, Violation
from services.common.parameters import Parameter
from services.registry.model.request import NewWorkflow, WorkflowChange
from services.registry.model.workflow import Workflow, WorkflowVersion
from services.registry.servicer.definition_converters import (
    output_to_proto,
    outputs_from_proto,
    parameter_to_proto,
    parameters_from_proto,
)

MAX_VERSION = 2**31 - 1


def workflow_to_proto(workflow: Workflow) -> workflow_pb2.Workflow:
    """A workflow as callers see it; with its graph where the record has it."""
    message = workflow_pb2.Workflow(
        id=workflow.id,
        team_id=workflow.team_id,
        team_name=workflow.team_name,
        slug=workflow.slug,
        display_name=workflow.display_name,
        description=workflow.description,
        tags=workflow.tags,
        latest_version=workflow.latest_version,
        version=version_to_proto(workflow.version),
    )
    message.create_time.FromDatetime(workflow.create_time)
    message.update_time.FromDatetime(workflow.update_time)
    return message


def version_to_proto(version: WorkflowVersion) -> workflow_pb2.WorkflowVersion:
    """A version as callers see it."""
    message = workflow_pb2.WorkflowVersion(
        number=version.number,
        note=version.note,
        content_hash=version.content_hash,
        graph_json=version.graph or b"",
        parameters=[parameter_to_proto(parameter) for parameter in version.parameters],
        outputs=[output_to_proto(output) for output in version.outputs],
        parameters_discovered=version.parameters_discovered,
        node_classes=version.node_classes,
    )
    message.create_time.FromDatetime(version.create_time)
    return message


def new_workflow_from_proto(request: registry_pb2.CreateWorkflowRequest) -> NewWorkflow:
    """The request; InvalidArgument for definitions that cannot be read."""
    return NewWorkflow(
        slug=request.slug,
        display_name=request.display_name or request.slug,
        description=request.description,
        tags=tuple(dict.fromkeys(request.tags)),
        graph=request.graph_json,
        parameters=parameters_from_proto(request.parameters),
        outputs=outputs_from_proto(request.outputs),
        no_discovery=request.no_discovery,
        note=request.note,
        request_id=request.request_id,
    )


def change_from_proto(request: registry_pb2.UpdateWorkflowRequest) -> WorkflowChange:
    """The request; InvalidArgument for definitions that cannot be read."""
    expected = request.expected_version if request.HasField("expected_version") else None
    if expected is not None and not 1 <= expected <= MAX_VERSION:
        message = "Give the number of a version, from 1."
        raise InvalidArgument(violations=[Violation("expected_version", "OUT_OF_RANGE", message)])
    parameters: tuple[Parameter, ...] | None = None
    if request.HasField("parameters"):
        parameters = parameters_from_proto(request.parameters.parameters)
    return WorkflowChange(
        workflow=request.workflow,
        display_name=request.display_name if request.HasField("display_name") else None,
        description=request.description if request.HasField("description") else None,
        tags=tuple(dict.fromkeys(request.tags.tags)) if request.HasField("tags") else None,
        graph=request.graph_json if request.HasField("graph_json") else None,
        parameters=parameters,
        outputs=outputs_from_proto(request.outputs.outputs) if request.HasField("outputs") else None,
        note=request.note,
        expected_version=expected,
        request_id=request.request_id,
    )
