"""`/v1/workflows`: store, read, change and delete workflows, and say what parameters a graph has."""

import grpc
from comfyfleet.registry.v1 import registry_pb2, workflow_pb2
from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.body import read_object
from gateway.caller import caller_of
from gateway.fields import INT64, Fields
from gateway.json_answer import answer
from gateway.openapi import workflow_pages as pages
from gateway.problems import HttpError
from gateway.query import Query, idempotency_key, one_request_id, page
from gateway.rest.runs import CALL_TIMEOUT, next_page
from gateway.rest.workflow_json import (
    output_definition_json,
    output_definition_of,
    parameter_json,
    parameter_of,
    version_json,
    workflow_json,
)
from gateway.rest.workflow_reference import FORMS, reference_of
from gateway.rooms import Rooms
from services.common.errors import Aborted, InvalidArgument, Violation
from services.common.status import error_of

_VIEWS = {"basic": workflow_pb2.WORKFLOW_VIEW_BASIC, "full": workflow_pb2.WORKFLOW_VIEW_FULL}


class WorkflowRoutes:
    """The routes of workflows."""

    def __init__(self, *, rooms: Rooms) -> None:
        self._rooms = rooms

    def router(self) -> APIRouter:
        """The routes."""
        made = APIRouter(tags=["Workflows"])
        made.get("/v1/workflows", **pages.LIST)(self.list)
        made.post("/v1/workflows", **pages.CREATE)(self.create)
        made.post("/v1/workflows:discover", **pages.DISCOVER)(self.discover)
        for form, of in zip(FORMS, pages.FORMS, strict=True):
            made.get(f"/v1/workflows/{form}/versions", **of.versions)(self.versions)
        for form, of in zip(FORMS, pages.FORMS, strict=True):
            made.get(f"/v1/workflows/{form}", **of.get)(self.get)
            made.patch(f"/v1/workflows/{form}", **of.update)(self.update)
            made.delete(f"/v1/workflows/{form}", **of.delete)(self.delete)
        return made

    async def list(self, request: Request) -> Response:
        """Show a page of the team's workflows."""
        caller, query = caller_of(request), Query(request)
        size, token = page(query)
        asked = registry_pb2.ListWorkflowsRequest(
            page_size=size,
            page_token=token,
            filter=query.text("filter") or "",
            order_by=query.text("order_by") or "",
        )
        query.done()
        got = await self._rooms.registry.ListWorkflows(asked, metadata=caller.metadata, timeout=CALL_TIMEOUT)
        body = {
            "workflows": [workflow_json(workflow) for workflow in got.workflows],
            "next_page_token": got.next_page_token or None,
        }
        return answer(body, headers=next_page(request, caller, got.next_page_token))

    async def create(self, request: Request) -> Response:
        """Store a workflow with its first version."""
        caller = caller_of(request)
        fields = Fields(await read_object(request))
        asked = registry_pb2.CreateWorkflowRequest(
            slug=fields.text("slug") or "",
            display_name=fields.text("display_name") or "",
            description=fields.text("description") or "",
            tags=fields.strings("tags") or (),
            graph_json=fields.json("graph") or b"",
            parameters=fields.items("parameters", parameter_of) or (),
            outputs=fields.items("outputs", output_definition_of) or (),
            no_discovery=fields.boolean("no_discovery") or False,
            note=fields.text("note") or "",
            request_id=one_request_id(fields, idempotency_key(request)),
        )
        fields.done()
        got = await self._rooms.registry.CreateWorkflow(asked, metadata=caller.metadata, timeout=CALL_TIMEOUT)
        headers = {"location": f"{caller.url}/v1/workflows/{got.workflow.id}", **_tag(got.workflow)}
        return answer(workflow_json(got.workflow), status=201, headers=headers)

    async def get(self, request: Request) -> Response:
        """Show a workflow with the version asked for, or its newest."""
        query = Query(request)
        view = query.choice("view", _VIEWS) or workflow_pb2.WORKFLOW_VIEW_BASIC
        query.done()
        asked = registry_pb2.GetWorkflowRequest(workflow=reference_of(request), view=view)
        metadata = caller_of(request).metadata
        got = await self._rooms.registry.GetWorkflow(asked, metadata=metadata, timeout=CALL_TIMEOUT)
        full = view == workflow_pb2.WORKFLOW_VIEW_FULL
        return answer(workflow_json(got.workflow, full=full), headers=_tag(got.workflow))

    async def update(self, request: Request) -> Response:
        """Change a workflow; a new graph, parameters or outputs make a new version."""
        fields = Fields(await read_object(request))
        asked = registry_pb2.UpdateWorkflowRequest(
            workflow=reference_of(request),
            note=fields.text("note") or "",
            request_id=one_request_id(fields, idempotency_key(request)),
        )
        for name in ("display_name", "description"):
            if (text := fields.text(name)) is not None:
                setattr(asked, name, text)
        if (graph := fields.json("graph")) is not None:
            asked.graph_json = graph
        _lists(fields, asked)
        if (expected := fields.integer("expected_version", (0, INT64[1]))) is not None:
            asked.expected_version = expected
        condition = _version_in(request)
        if condition is not None:
            asked.expected_version = condition
        fields.done()
        return await self._updated(request, asked, conditional=condition is not None)

    async def delete(self, request: Request) -> Response:
        """Delete a workflow softly."""
        asked = registry_pb2.DeleteWorkflowRequest(workflow=reference_of(request))
        metadata = caller_of(request).metadata
        await self._rooms.registry.DeleteWorkflow(asked, metadata=metadata, timeout=CALL_TIMEOUT)
        return Response(status_code=204)

    async def versions(self, request: Request) -> Response:
        """Show a page of a workflow's versions."""
        caller, query = caller_of(request), Query(request)
        size, token = page(query)
        query.done()
        asked = registry_pb2.ListVersionsRequest(workflow=reference_of(request), page_size=size, page_token=token)
        got = await self._rooms.registry.ListVersions(asked, metadata=caller.metadata, timeout=CALL_TIMEOUT)
        body = {
            "versions": [version_json(version) for version in got.versions],
            "next_page_token": got.next_page_token or None,
        }
        return answer(body, headers=next_page(request, caller, got.next_page_token))

    async def discover(self, request: Request) -> Response:
        """Say what parameters and outputs a graph has."""
        fields = Fields(await read_object(request))
        graph = fields.json("graph")
        fields.done()
        if graph is None:
            raise InvalidArgument(violations=[Violation("graph", "REQUIRED", "Send a graph in ComfyUI's API format.")])
        asked = registry_pb2.DiscoverParametersRequest(graph_json=graph)
        metadata = caller_of(request).metadata
        got = await self._rooms.registry.DiscoverParameters(asked, metadata=metadata, timeout=CALL_TIMEOUT)
        return answer(
            {
                "parameters": [parameter_json(parameter) for parameter in got.parameters],
                "outputs": [output_definition_json(output) for output in got.outputs],
                "catalogue_hash": got.catalogue_hash or None,
            }
        )

    async def _updated(
        self, request: Request, asked: registry_pb2.UpdateWorkflowRequest, *, conditional: bool
    ) -> Response:
        metadata = caller_of(request).metadata
        try:
            got = await self._rooms.registry.UpdateWorkflow(asked, metadata=metadata, timeout=CALL_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            domain = error_of(error)
            if conditional and isinstance(domain, Aborted):
                raise HttpError(412, domain.message, reason=domain.reason) from error
            raise
        return answer(workflow_json(got.workflow), headers=_tag(got.workflow))


def _lists(fields: Fields, asked: registry_pb2.UpdateWorkflowRequest) -> None:
    """Lists that may be absent (unchanged) or empty (none)."""
    if (tags := fields.strings("tags")) is not None:
        asked.tags.CopyFrom(workflow_pb2.TagList(tags=tags))
    if (parameters := fields.items("parameters", parameter_of)) is not None:
        asked.parameters.CopyFrom(workflow_pb2.ParameterList(parameters=parameters))
    if (outputs := fields.items("outputs", output_definition_of)) is not None:
        asked.outputs.CopyFrom(workflow_pb2.OutputDefinitionList(outputs=outputs))


def _tag(workflow: workflow_pb2.Workflow) -> dict[str, str]:
    """The entity tag: the number of the newest version."""
    return {"etag": f'"{workflow.latest_version}"'}


def _version_in(request: Request) -> int | None:
    """The version of an `If-Match` header."""
    text = request.headers.get("if-match")
    if text is None or text.strip() == "*":
        return None
    number = text.strip().strip('"')
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise InvalidArgument(violations=[Violation("If-Match", "BAD_HEADER", "Send the ETag of the workflow.")])
    return int(number)
