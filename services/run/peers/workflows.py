"""The registry, as creating runs needs it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import cast

import grpc
from comfyfleet.registry.v1 import registry_pb2, registry_pb2_grpc, workflow_pb2

from services.common.errors import Unavailable
from services.common.graph import Graph
from services.common.json_bytes import JsonValue, parse_json
from services.common.parameters import Default, Parameter, ParameterTarget, ParameterType
from services.common.rpc.metadata import for_team
from services.common.status import error_of
from services.run.model.blank import find_blanks
from services.run.model.workflow import WorkflowVersion
from services.run.service.aside import aside

PATIENCE = timedelta(seconds=10)
MAX_BYTES = 16 * 1024 * 1024
RETRIED = ("comfyfleet.registry.v1.RegistryService",)
"""What the channel may try again: this room only reads."""

_TYPES = {
    workflow_pb2.PARAMETER_TYPE_STRING: ParameterType.STRING,
    workflow_pb2.PARAMETER_TYPE_INTEGER: ParameterType.INTEGER,
    workflow_pb2.PARAMETER_TYPE_NUMBER: ParameterType.NUMBER,
    workflow_pb2.PARAMETER_TYPE_BOOLEAN: ParameterType.BOOLEAN,
    workflow_pb2.PARAMETER_TYPE_SELECT: ParameterType.SELECT,
    workflow_pb2.PARAMETER_TYPE_FILE: ParameterType.FILE,
    workflow_pb2.PARAMETER_TYPE_JSON: ParameterType.JSON,
}


class RegistryWorkflows:
    """`Workflows` over the registry's door, with the room's own credential."""

    def __init__(self, *, channel: grpc.aio.Channel) -> None:
        self._stub = registry_pb2_grpc.RegistryServiceStub(channel)

    async def read(self, team_id: str, reference: str) -> WorkflowVersion:
        """The version that `reference` means now; NotFound, InvalidArgument, or Unavailable."""
        request = registry_pb2.GetWorkflowRequest(workflow=reference, view=workflow_pb2.WORKFLOW_VIEW_FULL)
        try:
            response = await self._stub.GetWorkflow(
                request, metadata=for_team(team_id), timeout=PATIENCE.total_seconds()
            )
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        workflow = response.workflow
        return await aside(len(workflow.version.graph_json), lambda: _version_from_proto(workflow))

    async def discover(self, team_id: str, graph_json: bytes) -> Sequence[Parameter]:
        """The parameters of a graph that no workflow has; InvalidArgument, or Unavailable."""
        request = registry_pb2.DiscoverParametersRequest(graph_json=graph_json)
        try:
            response = await self._stub.DiscoverParameters(
                request, metadata=for_team(team_id), timeout=PATIENCE.total_seconds()
            )
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        return [_parameter_from_proto(parameter) for parameter in response.parameters]


def _version_from_proto(workflow: workflow_pb2.Workflow) -> WorkflowVersion:
    version = workflow.version
    graph = cast("Graph", _json(version.graph_json))
    return WorkflowVersion(
        workflow_id=workflow.id,
        slug=workflow.slug,
        display_name=workflow.display_name,
        number=version.number,
        content_hash=version.content_hash,
        graph=graph,
        graph_json=version.graph_json,
        blanks=find_blanks(graph),
        parameters=tuple(_parameter_from_proto(parameter) for parameter in version.parameters),
        output_keys={output.node_id: output.key for output in version.outputs},
        node_classes=frozenset(version.node_classes),
    )


def _parameter_from_proto(parameter: workflow_pb2.Parameter) -> Parameter:
    kind = _TYPES.get(parameter.type)
    if kind is None:
        raise Unavailable(
            f"The parameter {parameter.key!r} has a type that this release does not know; update it.",
            reason="PARAMETER_TYPE_UNKNOWN",
        )
    return Parameter(
        key=parameter.key,
        type=kind,
        label=parameter.label,
        description=parameter.description,
        required=parameter.required,
        default=Default(value=_json(parameter.default_json)) if parameter.default_json else None,
        minimum=_number(parameter.minimum_json),
        maximum=_number(parameter.maximum_json),
        step=_number(parameter.step_json),
        options=tuple(_json(option) for option in parameter.options_json),
        accept=tuple(parameter.accept),
        multiple=parameter.multiple,
        targets=tuple(ParameterTarget(node_id=target.node_id, input=target.input) for target in parameter.targets),
        typed_by_catalogue=parameter.typed_by_catalogue,
    )


def _number(data: bytes) -> int | float | None:
    value = _json(data) if data else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _json(data: bytes) -> JsonValue:
    return parse_json(data, max_bytes=MAX_BYTES)
