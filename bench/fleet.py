"""The same work through the fleet: by REST with server-sent events, and by gRPC."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import grpc
from comfyfleet.file.v1 import file_pb2, file_pb2_grpc
from comfyfleet.run.v1 import run_pb2, run_service_pb2, run_service_pb2_grpc

from bench.graph import as_bytes
from services.cli.connection import Connection, open_client
from services.cli.following import TERMINAL_STATES

_TERMINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "INVALID"})


class RestClient:
    """`POST /v1/runs` with `Accept: text/event-stream`, then the bytes by their link."""

    def __init__(self, session: aiohttp.ClientSession, connection: Connection) -> None:
        self._session = session
        self._connection = connection

    async def run(self, graph: dict[str, Any]) -> bytes:
        """Executes a graph and returns the bytes of its only picture."""
        async with self._execute(graph) as answer:
            ended = await self._last_run(answer)
        return await self._fetch(ended)

    async def run_burst(self, graphs: Sequence[dict[str, Any]], *, in_flight: int = 8) -> int:
        """Makes all runs with that many POSTs unanswered at a time, follows them all, fetches every picture."""
        gate = asyncio.Semaphore(in_flight)

        async def one(graph: dict[str, Any]) -> int:
            async with contextlib.AsyncExitStack() as stack:
                async with gate:  # the answer begins once the run is durable; its events come on the same stream
                    answer = await stack.enter_async_context(self._execute(graph))
                ended = await self._last_run(answer)
            return len(await self._fetch(ended))

        async with asyncio.TaskGroup() as tasks:
            made = [tasks.create_task(one(graph)) for graph in graphs]
        return sum(task.result() for task in made)

    def _execute(self, graph: dict[str, Any]) -> Any:
        headers = {"accept": "text/event-stream"}
        return self._session.post(f"{self._connection.url}/v1/runs", json={"graph": graph}, headers=headers)

    async def _fetch(self, ended: dict[str, Any]) -> bytes:
        """The bytes by the link that the run carries."""
        async with self._session.get(ended["outputs"][0]["url"]) as answer:
            answer.raise_for_status()
            return await answer.read()

    async def _last_run(self, answer: aiohttp.ClientResponse) -> dict[str, Any]:
        answer.raise_for_status()
        async for line in answer.content:
            if line.startswith(b"data:"):
                run: dict[str, Any] | None = json.loads(line[5:]).get("run")
                if run and run["state"] in _TERMINAL:
                    return run
        raise AssertionError("the event stream ended before the run")


class GrpcClient:
    """ExecuteRun, or CreateRun and WatchRun, then DownloadFile."""

    def __init__(self, channel: grpc.aio.Channel, connection: Connection) -> None:
        self._runs = run_service_pb2_grpc.RunServiceStub(channel)
        self._files = file_pb2_grpc.FileServiceStub(channel)
        self._metadata = connection.metadata

    async def run(self, graph: dict[str, Any]) -> bytes:
        """Executes a graph and returns the bytes of its only picture."""
        request = run_service_pb2.CreateRunRequest(graph_json=as_bytes(graph), progress=False)
        ended = await self._last_run(self._runs.ExecuteRun(request, metadata=self._metadata))
        return await self._fetch(ended)

    async def run_burst(self, graphs: Sequence[dict[str, Any]], *, in_flight: int = 8) -> int:
        """Makes all runs with that many calls at a time, watches them all, fetches every picture."""
        gate = asyncio.Semaphore(in_flight)

        async def one(graph: dict[str, Any]) -> int:
            request = run_service_pb2.CreateRunRequest(graph_json=as_bytes(graph))
            async with gate:
                made = (await self._runs.CreateRun(request, metadata=self._metadata)).run
            watch = run_service_pb2.WatchRunRequest(run_id=made.id, progress=False)
            return len(await self._fetch(await self._last_run(self._runs.WatchRun(watch, metadata=self._metadata))))

        async with asyncio.TaskGroup() as tasks:
            made = [tasks.create_task(one(graph)) for graph in graphs]
        return sum(task.result() for task in made)

    async def _last_run(self, events: Any) -> run_pb2.Run:
        async for event in events:
            if event.WhichOneof("event") == "snapshot" and event.snapshot.state in TERMINAL_STATES:
                return _succeeded(event.snapshot)
            if event.WhichOneof("event") == "state_changed" and event.state_changed.state in TERMINAL_STATES:
                return _succeeded(event.state_changed.run)
        raise AssertionError("the event stream ended before the run")

    async def _fetch(self, ended: run_pb2.Run) -> bytes:
        request = file_pb2.DownloadFileRequest(file_id=ended.outputs[0].file_id)
        return b"".join([part.chunk async for part in self._files.DownloadFile(request, metadata=self._metadata)])


def _succeeded(run: run_pb2.Run) -> run_pb2.Run:
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.error
    return run


@contextlib.asynccontextmanager
async def open_fleet_clients(connection: Connection) -> AsyncIterator[tuple[RestClient, GrpcClient]]:
    """Opens one client of each kind."""
    headers = {"authorization": f"Bearer {connection.key}"}
    connector = aiohttp.TCPConnector(limit=400)
    async with (
        aiohttp.ClientSession(connector=connector, headers=headers) as session,
        open_client(connection) as channel,
    ):
        yield RestClient(session, connection), GrpcClient(channel, connection)
