"""RegistryService."""

from typing import Any

from comfyfleet.registry.v1 import registry_pb2, registry_pb2_grpc, workflow_pb2
from grpc.aio import ServicerContext

from services.common.rpc.metadata import current_request_id
from services.common.rpc.principal import current_principal
from services.common.rpc.rule import scoped, service_rules
from services.registry.service.workflows import Caller, WorkflowService
from services.registry.servicer.definition_converters import output_to_proto, parameter_to_proto
from services.registry.servicer.workflow_converters import (
    change_from_proto,
    new_workflow_from_proto,
    version_to_proto,
    workflow_to_proto,
)

Context = ServicerContext[Any, Any]

RULES = service_rules(
    "comfyfleet.registry.v1.RegistryService",
    {
        "CreateWorkflow": scoped("workflows:write"),
        "GetWorkflow": scoped("workflows:read"),
        "ListWorkflows": scoped("workflows:read"),
        "UpdateWorkflow": scoped("workflows:write"),
        "DeleteWorkflow": scoped("workflows:write"),
        "ListVersions": scoped("workflows:read"),
        "DiscoverParameters": scoped("workflows:read"),
    },
)


class RegistryServicer(registry_pb2_grpc.RegistryServiceServicer):
    """Turns messages into calls of the service and records into messages."""

    def __init__(self, *, service: WorkflowService) -> None:
        self._service = service

    async def CreateWorkflow(
        self, request: registry_pb2.CreateWorkflowRequest, _context: Context
    ) -> registry_pb2.CreateWorkflowResponse:
        workflow = await self._service.create(_caller(), new_workflow_from_proto(request))
        return registry_pb2.CreateWorkflowResponse(workflow=workflow_to_proto(workflow))

    async def GetWorkflow(
        self, request: registry_pb2.GetWorkflowRequest, _context: Context
    ) -> registry_pb2.GetWorkflowResponse:
        full = request.view == workflow_pb2.WORKFLOW_VIEW_FULL
        workflow = await self._service.get(_caller(), request.workflow, with_graph=full)
        return registry_pb2.GetWorkflowResponse(workflow=workflow_to_proto(workflow))

    async def ListWorkflows(
        self, request: registry_pb2.ListWorkflowsRequest, _context: Context
    ) -> registry_pb2.ListWorkflowsResponse:
        page = await self._service.workflows(
            _caller(),
            page_size=request.page_size,
            page_token=request.page_token,
            filter_text=request.filter,
            order_by=request.order_by,
        )
        return registry_pb2.ListWorkflowsResponse(
            workflows=[workflow_to_proto(workflow) for workflow in page.rows], next_page_token=page.next_page_token
        )

    async def UpdateWorkflow(
        self, request: registry_pb2.UpdateWorkflowRequest, _context: Context
    ) -> registry_pb2.UpdateWorkflowResponse:
        workflow = await self._service.update(_caller(), change_from_proto(request))
        return registry_pb2.UpdateWorkflowResponse(workflow=workflow_to_proto(workflow))

    async def DeleteWorkflow(
        self, request: registry_pb2.DeleteWorkflowRequest, _context: Context
    ) -> registry_pb2.DeleteWorkflowResponse:
        await self._service.delete(_caller(), request.workflow)
        return registry_pb2.DeleteWorkflowResponse()

    async def ListVersions(
        self, request: registry_pb2.ListVersionsRequest, _context: Context
    ) -> registry_pb2.ListVersionsResponse:
        page = await self._service.versions(
            _caller(), request.workflow, page_size=request.page_size, page_token=request.page_token
        )
        return registry_pb2.ListVersionsResponse(
            versions=[version_to_proto(version) for version in page.rows], next_page_token=page.next_page_token
        )

    async def DiscoverParameters(
        self, request: registry_pb2.DiscoverParametersRequest, _context: Context
    ) -> registry_pb2.DiscoverParametersResponse:
        found = await self._service.discover(_caller(), request.graph_json)
        return registry_pb2.DiscoverParametersResponse(
            parameters=[parameter_to_proto(parameter) for parameter in found.parameters],
            outputs=[output_to_proto(output) for output in found.outputs],
            catalogue_hash=found.catalogue_hash,
        )


def _caller() -> Caller:
    principal = current_principal()
    return Caller(team_id=principal.team(), team_name=principal.team_name or "", request_id=current_request_id())
