"""Small rooms in front of which the gateway is tried: what they answer is scripted, what they are asked is kept."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from comfyfleet.access.v1 import access_pb2, access_pb2_grpc
from comfyfleet.file.v1 import file_pb2, file_pb2_grpc
from comfyfleet.registry.v1 import registry_pb2, registry_pb2_grpc, workflow_pb2
from comfyfleet.run.v1 import (
    run_event_pb2,
    run_pb2,
    run_queue_pb2,
    run_queue_pb2_grpc,
    run_service_pb2,
    run_service_pb2_grpc,
    runner_pb2_grpc,
)
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from gateway.rooms import SERVICES
from services.common.errors import DomainError, InvalidArgument, NotFound, OutOfRange
from services.common.ids import new_id
from services.common.rpc.options import SERVER_OPTIONS
from services.common.status import status_of


async def refuse(context: Any, error: DomainError) -> None:
    """End the call with `error`, as rooms do."""
    await context.abort_with_status(rpc_status.to_status(status_of(error)))


class ScriptedRuns(run_service_pb2_grpc.RunServiceServicer):
    """One run, with a log of events that a test appends to."""

    def __init__(self) -> None:
        self.run = run_pb2.Run(id=new_id(), team_id=new_id(), state=run_pb2.RUN_STATE_QUEUED, sequence=1)
        self.refusal: DomainError | None = None
        self.created: list[run_service_pb2.CreateRunRequest] = []
        self.watched: list[run_service_pb2.WatchRunRequest] = []
        self.metadata: dict[str, str | bytes] = {}
        self.time_remaining: float | None = None
        self.log: list[run_event_pb2.RunEvent] = []
        self.news = asyncio.Condition()
        self.ended = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.drop_after: int | None = None
        """Break the next stream with UNAVAILABLE after this many messages."""

    async def append(self, **event: Any) -> None:
        """One more event in the log."""
        async with self.news:
            self.log.append(run_event_pb2.RunEvent(run_id=self.run.id, sequence=len(self.log) + 1, **event))
            self.news.notify_all()

    async def end(self, state: run_pb2.RunState.ValueType = run_pb2.RUN_STATE_SUCCEEDED) -> None:
        """The terminal event."""
        self.run.state = state
        change = run_event_pb2.RunStateChange(state=state, previous_state=run_pb2.RUN_STATE_RUNNING, run=self.run)
        await self.append(state_changed=change)
        self.ended.set()

    async def CreateRun(self, request: run_service_pb2.CreateRunRequest, context: Any) -> Any:
        self.metadata = dict(context.invocation_metadata())
        self.created.append(request)
        if self.refusal is not None:
            await refuse(context, self.refusal)
        return run_service_pb2.CreateRunResponse(run=self.run)

    async def ExecuteRun(self, request: run_service_pb2.CreateRunRequest, context: Any) -> Any:
        self.created.append(request)
        if self.refusal is not None:
            await refuse(context, self.refusal)
        yield run_event_pb2.RunEvent(run_id=self.run.id, sequence=1, snapshot=self.run)
        async for event in self._after(1, context):
            yield event

    async def GetRun(self, request: run_service_pb2.GetRunRequest, context: Any) -> Any:
        self.metadata = dict(context.invocation_metadata())
        self.time_remaining = context.time_remaining()
        if request.run_id != self.run.id:
            await refuse(context, NotFound("There is no such run.", reason="RUN_NOT_FOUND", metadata={"run": "x"}))
        return run_service_pb2.GetRunResponse(run=self.run)

    async def WaitRun(self, request: run_service_pb2.WaitRunRequest, context: Any) -> Any:
        await self.ended.wait()
        return run_service_pb2.WaitRunResponse(run=self.run)

    async def WatchRun(self, request: run_service_pb2.WatchRunRequest, context: Any) -> Any:
        self.watched.append(request)
        if request.run_id != self.run.id:
            await refuse(context, NotFound("There is no such run.", reason="RUN_NOT_FOUND"))
        after = request.after_sequence
        if not request.HasField("after_sequence"):
            after = len(self.log)
            yield run_event_pb2.RunEvent(run_id=self.run.id, sequence=after, snapshot=self.run)
        try:
            async for event in self._after(after, context):
                yield event
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _after(self, after: int, context: Any) -> AsyncIterator[run_event_pb2.RunEvent]:
        while True:
            async with self.news:
                while len(self.log) <= after and not self.ended.is_set():
                    await self.news.wait()
                fresh = self.log[after:]
            for event in fresh:
                if self.drop_after == 0:
                    self.drop_after = None
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "going")
                if self.drop_after is not None:
                    self.drop_after -= 1
                yield event
            after += len(fresh)
            if self.ended.is_set():
                return


class ScriptedQueue(run_queue_pb2_grpc.RunQueueServiceServicer):
    """Echoes what it is told."""

    async def Synchronize(self, request_iterator: Any, context: Any) -> Any:
        async for state in request_iterator:
            yield run_queue_pb2.DesiredState(version=state.message_number)

    async def PublishPreviews(self, request_iterator: Any, context: Any) -> Any:
        context.set_trailing_metadata((("x-seen", str(len([frame async for frame in request_iterator]))),))
        return run_queue_pb2.PublishPreviewsResponse()


class ScriptedFiles(file_pb2_grpc.FileServiceServicer):
    """Keeps files in memory."""

    def __init__(self, *, max_bytes: int = 1 << 30) -> None:
        self.max_bytes = max_bytes
        self.headers: dict[str, file_pb2.FileHeader] = {}
        self.contents: dict[str, bytes] = {}
        self.deleted: list[str] = []
        self.chunk_sizes: list[int] = []
        self.began = asyncio.Event()
        self.broken_off = asyncio.Event()
        self.gone = asyncio.Event()

    def store(self, content: bytes, **header: Any) -> file_pb2.File:
        """Keep a file."""
        return self._keep(file_pb2.FileHeader(**header), content)

    async def PutFile(self, request: file_pb2.PutFileRequest, context: Any) -> Any:
        return file_pb2.PutFileResponse(file=self._keep(request.header, request.content))

    async def UploadFile(self, request_iterator: Any, context: Any) -> Any:
        header, content = None, bytearray()
        try:
            async for request in request_iterator:
                self.began.set()
                if request.HasField("header"):
                    if header is not None:
                        self.broken_off.set()
                        await refuse(context, InvalidArgument("One header only.", reason="SECOND_HEADER"))
                    header = request.header
                self.chunk_sizes.append(len(request.chunk))
                content += request.chunk
                if len(content) > self.max_bytes:
                    await refuse(context, OutOfRange("The file is too large.", reason="FILE_TOO_LARGE"))
            # A cut stream may first look like one that has ended; it shows itself while a real room writes to disk.
            await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            self.broken_off.set()
            raise
        assert header is not None
        return file_pb2.UploadFileResponse(file=self._keep(header, bytes(content)))

    async def DownloadFile(self, request: file_pb2.DownloadFileRequest, context: Any) -> Any:
        file = await self._found(request.file_id, context)
        content = self.contents[file.id]
        part = content[request.offset : request.offset + request.length if request.length else None]
        header = file_pb2.DownloadHeader(file=file, offset=request.offset, length=len(part))
        try:
            yield file_pb2.DownloadFileResponse(header=header)
            for start in range(0, len(part), 65536):
                yield file_pb2.DownloadFileResponse(chunk=part[start : start + 65536])
        except (asyncio.CancelledError, GeneratorExit):
            self.broken_off.set()
            raise

    async def GetFile(self, request: file_pb2.GetFileRequest, context: Any) -> Any:
        return file_pb2.GetFileResponse(file=await self._found(request.file_id, context))

    async def DeleteFile(self, request: file_pb2.DeleteFileRequest, context: Any) -> Any:
        await self._found(request.file_id, context)
        del self.contents[request.file_id]
        self.deleted.append(request.file_id)
        self.gone.set()
        return file_pb2.DeleteFileResponse()

    async def _found(self, file_id: str, context: Any) -> file_pb2.File:
        if file_id not in self.contents:
            await refuse(context, NotFound("There is no such file.", reason="FILE_NOT_FOUND"))
        return self._record(file_id)

    def _keep(self, header: file_pb2.FileHeader, content: bytes) -> file_pb2.File:
        file_id = new_id()
        self.headers[file_id] = header
        self.contents[file_id] = content
        return self._record(file_id)

    def _record(self, file_id: str) -> file_pb2.File:
        header, content = self.headers[file_id], self.contents[file_id]
        return file_pb2.File(
            id=file_id,
            team_id=new_id(),
            file_name=header.file_name or "file",
            media_type=header.media_type or "application/octet-stream",
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            provisional=header.provisional,
        )


class ScriptedRegistry(registry_pb2_grpc.RegistryServiceServicer):
    """One workflow."""

    def __init__(self) -> None:
        self.workflow = workflow_pb2.Workflow(id=new_id(), slug="colour", latest_version=3)
        self.asked: list[Any] = []
        self.refusal: DomainError | None = None

    async def CreateWorkflow(self, request: registry_pb2.CreateWorkflowRequest, context: Any) -> Any:
        self.asked.append(request)
        if self.refusal is not None:
            await refuse(context, self.refusal)
        return registry_pb2.CreateWorkflowResponse(workflow=self.workflow)

    async def GetWorkflow(self, request: registry_pb2.GetWorkflowRequest, context: Any) -> Any:
        self.asked.append(request)
        return registry_pb2.GetWorkflowResponse(workflow=self.workflow)

    async def UpdateWorkflow(self, request: registry_pb2.UpdateWorkflowRequest, context: Any) -> Any:
        self.asked.append(request)
        if self.refusal is not None:
            await refuse(context, self.refusal)
        return registry_pb2.UpdateWorkflowResponse(workflow=self.workflow)

    async def ListWorkflows(self, request: registry_pb2.ListWorkflowsRequest, context: Any) -> Any:
        self.asked.append(request)
        return registry_pb2.ListWorkflowsResponse(workflows=[self.workflow], next_page_token="more")


class ScriptedAccess(access_pb2_grpc.AccessServiceServicer):
    """Makes credentials."""

    async def CreateCredential(self, request: access_pb2.CreateCredentialRequest, context: Any) -> Any:
        credential = access_pb2.Credential(id=new_id(), kind=request.kind, scopes=request.scopes)
        return access_pb2.CreateCredentialResponse(credential=credential, secret="sk-shown-once")


class ScriptedRooms:
    """All rooms behind one port."""

    def __init__(self) -> None:
        # What a script leaves out is UNIMPLEMENTED.
        self.runs = ScriptedRuns()  # type: ignore[abstract]
        self.files = ScriptedFiles()  # type: ignore[abstract]
        self.registry = ScriptedRegistry()  # type: ignore[abstract]
        self.health = health.aio.HealthServicer()
        self.address = ""
        self._server: grpc.aio.Server | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ScriptedRooms"]:
        """Serve until the block ends."""
        self._server = server = grpc.aio.server(options=SERVER_OPTIONS)
        run_service_pb2_grpc.add_RunServiceServicer_to_server(self.runs, server)
        run_queue_pb2_grpc.add_RunQueueServiceServicer_to_server(ScriptedQueue(), server)  # type: ignore[abstract]
        runner_pb2_grpc.add_RunnerServiceServicer_to_server(runner_pb2_grpc.RunnerServiceServicer(), server)  # type: ignore[abstract]
        file_pb2_grpc.add_FileServiceServicer_to_server(self.files, server)
        registry_pb2_grpc.add_RegistryServiceServicer_to_server(self.registry, server)
        access_pb2_grpc.add_AccessServiceServicer_to_server(ScriptedAccess(), server)  # type: ignore[abstract]
        health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        for name in SERVICES:
            await self.health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield self
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Be away from now on."""
        assert self._server is not None
        await self._server.stop(0)
