"""A load of runs, made and followed by a client that survives whatever its servers go through."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc
from comfyfleet.file.v1 import file_pb2, file_pb2_grpc
from comfyfleet.run.v1 import run_event_pb2, run_pb2, run_service_pb2, run_service_pb2_grpc
from google.protobuf.duration_pb2 import Duration

from services.cli.connection import Connection
from services.cli.following import TERMINAL_STATES
from services.common.errors import DeadlineExceeded, Unavailable
from services.common.status import error_of
from tests.journey.graphs import picture_graph, slow_nodes

T = TypeVar("T")

_PASSING = (Unavailable, DeadlineExceeded)
_CALL_SECONDS = 15.0
_AGAIN_SECONDS = 0.2


class Load:
    """Makes runs under request ids, and repeats each call that a dying server left unanswered."""

    def __init__(self, channel: grpc.aio.Channel, connection: Connection) -> None:
        self._runs = run_service_pb2_grpc.RunServiceStub(channel)
        self._files = file_pb2_grpc.FileServiceStub(channel)
        self._metadata = connection.metadata

    async def create(self, request_id: str, *, sleep_seconds: float) -> str:
        """The id of the run of that request, which is one however often it is asked for."""
        return await self.create_of({**picture_graph(), **slow_nodes(seconds=sleep_seconds, steps=2)}, request_id)

    async def create_of(self, graph: dict[str, Any], request_id: str) -> str:
        """The id of the run of `graph` under that request."""
        request = run_service_pb2.CreateRunRequest(graph_json=json.dumps(graph).encode(), request_id=request_id)
        answer = await _persist(lambda: self._runs.CreateRun(request, metadata=self._metadata, timeout=_CALL_SECONDS))
        return answer.run.id

    async def ended(self, run_id: str) -> run_pb2.Run:
        """The run at its end."""
        request = run_service_pb2.WaitRunRequest(run_id=run_id, timeout=Duration(seconds=10))
        while True:
            answer = await _persist(lambda: self._runs.WaitRun(request, metadata=self._metadata, timeout=_CALL_SECONDS))
            if answer.run.state in TERMINAL_STATES:
                return answer.run

    async def event_log(self, run_id: str) -> Sequence[run_event_pb2.RunEvent]:
        """All logged events of an ended run."""

        async def read() -> list[run_event_pb2.RunEvent]:
            request = run_service_pb2.WatchRunRequest(run_id=run_id, after_sequence=0, progress=False)
            stream = self._runs.WatchRun(request, metadata=self._metadata, timeout=_CALL_SECONDS)
            return [event async for event in stream]

        return await _persist(read)

    async def content(self, file_id: str) -> bytes:
        """The bytes of an output."""

        async def read() -> bytes:
            request = file_pb2.DownloadFileRequest(file_id=file_id)
            stream = self._files.DownloadFile(request, metadata=self._metadata, timeout=_CALL_SECONDS)
            return b"".join([part.chunk async for part in stream])

        return await _persist(read)


async def _persist(call: Callable[[], Awaitable[T]]) -> T:
    """What `call` gives as soon as a server is there to answer it."""
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as failure:
            if not isinstance(error_of(failure), _PASSING):
                raise
        await asyncio.sleep(_AGAIN_SECONDS)
