"""`/v1/runs` and `/v1/workflows/{…}/runs`: make, watch, read and cancel runs."""

import asyncio
from datetime import timedelta

import grpc
from comfyfleet.registry.v1 import registry_pb2
from comfyfleet.run.v1 import run_pb2, run_service_pb2
from fastapi import APIRouter, Request
from google.protobuf.duration_pb2 import Duration
from starlette.responses import Response

from gateway.body import read_object
from gateway.caller import Caller, caller_of
from gateway.hot_routes import HotRoute
from gateway.json_answer import answer
from gateway.links import page_link, run_url
from gateway.multipart_form import is_form
from gateway.multipart_run import ProvisionalFiles, read_run_form
from gateway.openapi import run_pages as pages
from gateway.presence import OpenStreams, while_present
from gateway.query import Query, idempotency_key, last_event_id, page, wait_seconds
from gateway.rest.run_json import TERMINAL, run_json
from gateway.rest.run_request import run_request
from gateway.rest.workflow_reference import FORMS, reference_of
from gateway.rooms import Rooms
from gateway.run_events import EventCall, RunEvents
from gateway.sse import EVENT_STREAM, EventStream

CALL_TIMEOUT = 30.0
"""Seconds for an answer that waits for nobody."""
SETTLE = 1.0
"""Seconds in which a resumed stream shows whether it is over (204), or refused, before it is answered."""

_VIEWS = {"basic": run_pb2.RUN_VIEW_BASIC, "full": run_pb2.RUN_VIEW_FULL}


class RunRoutes:
    """The routes of runs."""

    def __init__(
        self, *, rooms: Rooms, streams: OpenStreams, upload_limit: int, heartbeat: float, send_timeout: float
    ) -> None:
        self._rooms = rooms
        self._streams = streams
        self._upload_limit = upload_limit
        self._heartbeat = heartbeat
        self._send_timeout = send_timeout

    def router(self) -> APIRouter:
        """The routes."""
        made = APIRouter(tags=["Runs"])
        made.post("/v1/runs", **pages.CREATE)(self.create)
        made.get("/v1/runs/{run_id}", **pages.GET)(self.get)
        made.get("/v1/runs/{run_id}/events", **pages.EVENTS)(self.events)
        made.post("/v1/runs/{run_id}:cancel", **pages.CANCEL)(self.cancel)
        made.get("/v1/runs", **pages.LIST)(self.list)
        made.post(f"/v1/workflows/{FORMS[0]}/runs", **pages.CREATE_OF_WORKFLOW)(self.create)
        made.post(f"/v1/workflows/{FORMS[1]}/runs", **pages.CREATE_OF_TEAM_WORKFLOW)(self.create)
        made.get(f"/v1/workflows/{FORMS[0]}/runs", **pages.LIST_OF_WORKFLOW)(self.list)
        made.get(f"/v1/workflows/{FORMS[1]}/runs", **pages.LIST_OF_TEAM_WORKFLOW)(self.list)
        return made

    def hot_routes(self) -> list[HotRoute]:
        """Those of them that every run takes."""
        return [
            HotRoute(method="POST", path="/v1/runs", answer=self.create),
            HotRoute(method="GET", path="/v1/runs/{run_id}/events", answer=self.events),
            HotRoute(method="GET", path="/v1/runs/{run_id}", answer=self.get),
        ]

    async def create(self, request: Request) -> Response:
        """Make a run; with `Accept: text/event-stream` watch it in the same call."""
        caller = caller_of(request)
        workflow = reference_of(request) if request.path_params else None
        key = idempotency_key(request)
        if not is_form(request):
            body = await read_object(request)
            return await self._started(request, run_request(body, workflow=workflow, key=key, base=caller.url))
        files = ProvisionalFiles(rooms=self._rooms, metadata=caller.metadata)
        try:
            asked = await read_run_form(
                request,
                caller=caller,
                rooms=self._rooms,
                files=files,
                limit=self._upload_limit,
                workflow=workflow,
                key=key,
            )
            return await self._started(request, asked)
        except BaseException:
            await asyncio.shield(files.delete())
            raise

    async def get(self, request: Request) -> Response:
        """Show a run; with `Prefer: wait` when it has ended."""
        caller, query = caller_of(request), Query(request)
        view = query.choice("view", _VIEWS) or run_pb2.RUN_VIEW_BASIC
        query.done()
        run_id, wait = str(request.path_params["run_id"]), wait_seconds(request)
        if wait:
            waited = await while_present(request, self._ended(run_id, wait, caller))
            if view == run_pb2.RUN_VIEW_BASIC:
                return answer(run_json(waited, base=caller.url), headers=_applied(wait))
        got = await self._rooms.runs.GetRun(
            run_service_pb2.GetRunRequest(run_id=run_id, view=view),
            metadata=caller.metadata,
            timeout=CALL_TIMEOUT,
        )
        full = view == run_pb2.RUN_VIEW_FULL
        return answer(run_json(got.run, base=caller.url, full=full), headers=_applied(wait) if wait else None)

    async def list(self, request: Request) -> Response:
        """Show a page of the team's runs, or of one workflow's."""
        caller, query = caller_of(request), Query(request)
        size, token = page(query)
        asked = run_service_pb2.ListRunsRequest(
            page_size=size,
            page_token=token,
            filter=query.text("filter") or "",
            order_by=query.text("order_by") or "",
        )
        query.done()
        if request.path_params:
            asked.filter = await self._of_workflow(request, asked.filter)
        got = await self._rooms.runs.ListRuns(asked, metadata=caller.metadata, timeout=CALL_TIMEOUT)
        body = {
            "runs": [run_json(run, base=caller.url) for run in got.runs],
            "next_page_token": got.next_page_token or None,
        }
        return answer(body, headers=next_page(request, caller, got.next_page_token))

    async def cancel(self, request: Request) -> Response:
        """Ask that a run stop."""
        caller = caller_of(request)
        asked = run_service_pb2.CancelRunRequest(run_id=request.path_params["run_id"])
        got = await self._rooms.runs.CancelRun(asked, metadata=caller.metadata, timeout=CALL_TIMEOUT)
        return answer(run_json(got.run, base=caller.url))

    async def events(self, request: Request) -> Response:
        """Stream a run's events, from now or from a cursor."""
        caller, query = caller_of(request), Query(request)
        cursor = last_event_id(request, query)
        asked = run_service_pb2.WatchRunRequest(
            run_id=request.path_params["run_id"], previews=query.flag("previews") or False
        )
        if (progress := query.flag("progress")) is not None:
            asked.progress = progress
        query.done()
        if cursor is not None:
            asked.after_sequence = cursor
        call = self._rooms.runs.WatchRun(asked, metadata=caller.metadata)
        return await self._stream(call, asked, caller, resumed=cursor is not None)

    async def _started(self, request: Request, asked: run_service_pb2.CreateRunRequest) -> Response:
        caller = caller_of(request)
        if EVENT_STREAM in request.headers.get("accept", ""):
            call = self._rooms.runs.ExecuteRun(asked, metadata=caller.metadata)
            watch = run_service_pb2.WatchRunRequest(previews=asked.previews)
            if asked.HasField("progress"):
                watch.progress = asked.progress
            return await self._stream(call, watch, caller, resumed=False)
        made = await self._rooms.runs.CreateRun(asked, metadata=caller.metadata, timeout=CALL_TIMEOUT)
        run, wait = made.run, wait_seconds(request)
        headers = {"location": run_url(caller.url, run.id)}
        if made.replayed:
            headers["idempotent-replayed"] = "true"
        if wait:
            headers |= _applied(wait)
            run = await self._ended_if_possible(request, run, wait, caller)
        return answer(run_json(run, base=caller.url), status=200 if made.replayed else 201, headers=headers)

    async def _stream(
        self, call: EventCall, watch: run_service_pb2.WatchRunRequest, caller: Caller, *, resumed: bool
    ) -> Response:
        events = RunEvents(call, runs=self._rooms.runs, watch=watch, metadata=caller.metadata)
        first, headers = None, {}
        try:
            # A new stream begins with a snapshot; a resumed one may have nothing to say for long.
            if not resumed or await events.settled(SETTLE):
                async with asyncio.timeout(CALL_TIMEOUT):
                    first = await events.read()
                if first is None:
                    return Response(status_code=204)  # it is over and all was seen: clients stop reconnecting
                headers["location"] = run_url(caller.url, first.run_id)
        except BaseException:
            events.stop()
            raise
        return EventStream(
            events,
            first=first,
            base=caller.url,
            request_id=caller.request_id,
            streams=self._streams,
            heartbeat=self._heartbeat,
            send_timeout=self._send_timeout,
            headers=headers,
        )

    async def _of_workflow(self, request: Request, also: str) -> str:
        """A filter for the runs of the workflow in the route, and for `also`."""
        asked = registry_pb2.GetWorkflowRequest(workflow=reference_of(request))
        metadata = caller_of(request).metadata
        got = await self._rooms.registry.GetWorkflow(asked, metadata=metadata, timeout=CALL_TIMEOUT)
        mine = f'workflow_id = "{got.workflow.id}"'
        return f"{mine} AND ({also})" if also else mine

    async def _ended_if_possible(self, request: Request, run: run_pb2.Run, wait: int, caller: Caller) -> run_pb2.Run:
        """The run at its end; as it was made when waiting fails, since it is made and the caller must learn its id."""
        if run.state in TERMINAL:
            return run
        try:
            return await while_present(request, self._ended(run.id, wait, caller))
        except grpc.aio.AioRpcError:
            return run

    async def _ended(self, run_id: str, wait: int, caller: Caller) -> run_pb2.Run:
        timeout = Duration()
        timeout.FromTimedelta(timedelta(seconds=wait))
        asked = run_service_pb2.WaitRunRequest(run_id=run_id, timeout=timeout)
        got = await self._rooms.runs.WaitRun(asked, metadata=caller.metadata, timeout=wait + CALL_TIMEOUT)
        return got.run


def next_page(request: Request, caller: Caller, token: str) -> dict[str, str] | None:
    """The `Link` header of a list that goes on."""
    if not token:
        return None
    return {"link": page_link(caller.url, request.url.path, request.query_params.multi_items(), token)}


def _applied(wait: int) -> dict[str, str]:
    return {"preference-applied": f"wait={wait}"}
