"""A run room for tests of dispatchers: a real gRPC server that desires what the test says, level by level."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import grpc
from comfyfleet.run.v1 import run_queue_pb2, run_queue_pb2_grpc
from grpc_status import rpc_status

from services.common.errors import Aborted
from services.common.ids import new_id
from services.common.status import status_of

Key = tuple[str, int]
Place = tuple[str, str, int]
_Context = grpc.aio.ServicerContext[Any, Any]
FLEET = "fleet-of-tests"


@dataclass(kw_only=True)
class ScriptedRunRoom(run_queue_pb2_grpc.RunQueueServiceServicer):
    """Names every backend that a dispatcher reports; executions are the test's."""

    address: str = ""
    version: int = 1
    desired: dict[Key, run_queue_pb2.DesiredExecution] = field(default_factory=dict)
    specs: dict[Key, run_queue_pb2.ExecutionSpec] = field(default_factory=dict)
    current: run_queue_pb2.CurrentState | None = None
    sessions: list[str] = field(default_factory=list)
    finished: dict[Key, run_queue_pb2.ExecutionState] = field(default_factory=dict)
    seen: list[run_queue_pb2.ExecutionState] = field(default_factory=list)
    previews: list[run_queue_pb2.PreviewFrame] = field(default_factory=list)
    catalogues: dict[str, bytes] = field(default_factory=dict)
    wanted_catalogues: list[str] = field(default_factory=list)
    told_versions: list[int] = field(default_factory=list)
    """Versions of the desired states that were sent."""
    forget_finished: bool = True
    endpoints: dict[str, str] = field(default_factory=dict)
    """Registered backends: URL by local key."""
    disabled: set[str] = field(default_factory=set)
    """Local keys of runners that are taken out."""
    drain: bool = False
    epochs: dict[str, int] = field(default_factory=dict)
    _outputs: dict[Key, dict[Place, run_queue_pb2.Output]] = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    # ------------------------------------------------------------------ what a test does
    def assign(self, graph: dict[str, Any], *, runner: str, run_id: str = "", attempt: int = 1, **fields: Any) -> Key:
        """Desire an execution of `graph` at the runner with that local key."""
        key = (run_id or new_id(), attempt)
        spec_fields = {name: fields.pop(name) for name in list(fields) if name in _SPEC_FIELDS}
        self.specs[key] = run_queue_pb2.ExecutionSpec(
            prompt_id=str(uuid5(NAMESPACE_URL, f"{key[0]}/{attempt}")),
            graph_json=json.dumps(graph).encode(),
            output_prefix=f"comfyfleet/{key[0]}",
            **spec_fields,
        )
        self.desired[key] = run_queue_pb2.DesiredExecution(
            run_id=key[0],
            attempt=attempt,
            runner_id=_runner_id(runner),
            action=fields.pop("action", run_queue_pb2.ACTION_RUN),
            order=len(self.desired),
            file_token=fields.pop("file_token", "token"),
            **fields,
        )
        self.bump()
        return key

    def change(self, key: Key, **fields: Any) -> None:
        """Desire it otherwise."""
        self.desired[key].MergeFrom(run_queue_pb2.DesiredExecution(**fields))
        self.bump()

    def drop(self, key: Key) -> None:
        """Desire it no longer."""
        self.desired.pop(key, None)
        self.bump()

    def bump(self) -> None:
        """Say the newest to every dispatcher."""
        self.version += 1
        self._say()

    async def hang_up(self) -> None:
        """End all streams; the dispatcher dials again."""
        self._hung_up = True
        self._say()
        await self.until(lambda: not self._hung_up)

    async def supersede(self) -> None:
        """End all streams as those of sessions that are not the newest."""
        self._superseded = True
        self._say()
        await self.until(lambda: not self._superseded)

    async def until(self, condition: Callable[[], Any], *, seconds: float = 20) -> Any:
        """Wait until `condition` is true after some message; its value."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)
            return condition()

    async def until_finished(self, key: Key, *, seconds: float = 20) -> run_queue_pb2.ExecutionState:
        """The execution's last state, with all its outputs."""
        state: run_queue_pb2.ExecutionState = await self.until(lambda: self.finished.get(key), seconds=seconds)
        return state

    async def until_ready(self, runner: str, *, seconds: float = 20) -> run_queue_pb2.RunnerState:
        """The runner's state once it takes work."""
        state: run_queue_pb2.RunnerState = await self.until(
            lambda: next((one for one in self._runners() if one.local_key == runner and one.recovered), None),
            seconds=seconds,
        )
        return state

    def runner(self, local_key: str) -> run_queue_pb2.RunnerState | None:
        """What was last said of a backend."""
        return next((one for one in self._runners() if one.local_key == local_key), None)

    def phases(self, key: Key) -> list[str]:
        """The phases that were reported of an execution, each once in a row."""
        told = [str(state.WhichOneof("phase")) for state in self.seen if (state.run_id, state.attempt) == key]
        return [phase for index, phase in enumerate(told) if index == 0 or told[index - 1] != phase]

    # ------------------------------------------------------------------ what a dispatcher calls
    async def Synchronize(
        self, request_iterator: AsyncIterator[run_queue_pb2.CurrentState], context: _Context
    ) -> AsyncIterator[run_queue_pb2.DesiredState]:
        news: asyncio.Queue[None] = asyncio.Queue()
        self._streams.append(news)
        reader = asyncio.create_task(self._read(request_iterator, news))
        try:
            while True:
                await news.get()
                while not news.empty():
                    news.get_nowait()
                if self._superseded:
                    self._superseded = False
                    await self._notify()
                    error = Aborted("A newer session is open.", reason="SUPERSEDED")
                    await context.abort_with_status(rpc_status.to_status(status_of(error)))
                if reader.done() or self._hung_up:
                    self._hung_up = False
                    return
                if self.current is not None:
                    self.told_versions.append(self.version)
                    yield self._desired_state()
                    await self._notify()
        finally:
            self._streams.remove(news)
            reader.cancel()

    async def PublishPreviews(
        self, request_iterator: AsyncIterator[run_queue_pb2.PreviewFrame], context: _Context
    ) -> run_queue_pb2.PublishPreviewsResponse:
        async for frame in request_iterator:
            self.previews.append(frame)
            await self._notify()
        return run_queue_pb2.PublishPreviewsResponse(accepted_count=len(self.previews))

    async def UploadCatalogue(
        self, request_iterator: AsyncIterator[run_queue_pb2.CatalogueChunk], context: _Context
    ) -> run_queue_pb2.UploadCatalogueResponse:
        name, content = "", bytearray()
        async for part in request_iterator:
            name = part.catalogue_hash or name
            content.extend(part.chunk)
        self.catalogues[name] = bytes(content)
        await self._notify()
        return run_queue_pb2.UploadCatalogueResponse()

    # ------------------------------------------------------------------
    def __post_init__(self) -> None:
        self._streams: list[asyncio.Queue[None]] = []
        self._hung_up = False
        self._superseded = False

    async def _read(self, messages: AsyncIterator[run_queue_pb2.CurrentState], news: asyncio.Queue[None]) -> None:
        first = True
        async for message in messages:
            if message.session_id not in self.sessions:
                self.sessions.append(message.session_id)
                for runner in message.runners:
                    self.epochs[runner.local_key] = self.epochs.get(runner.local_key, 0) + 1
            self.current = message
            for state in message.executions:
                self._take(state)
            if first or self._has_news(message):
                news.put_nowait(None)
            first = False
            await self._notify()
        news.put_nowait(None)

    def _take(self, state: run_queue_pb2.ExecutionState) -> None:
        key = (state.run_id, state.attempt)
        self.seen.append(state)
        held = self._outputs.setdefault(key, {})
        for output in state.outputs:
            held.setdefault((output.node_id, output.key, output.position), output)
        desired = self.desired.get(key)
        if desired is None:
            return
        desired.outputs_acknowledged = len(held)
        if state.WhichOneof("phase") == "running" or state.waiting.submitted:
            desired.submitted = True
        if state.WhichOneof("phase") == "finished":
            whole = run_queue_pb2.ExecutionState()
            whole.CopyFrom(state)
            del whole.outputs[:]
            whole.outputs.extend(held.values())
            self.finished[key] = whole
            if self.forget_finished:
                self.desired.pop(key)
                self.version += 1

    def _has_news(self, message: run_queue_pb2.CurrentState) -> bool:
        unnamed = any(not runner.epoch for runner in message.runners)
        return unnamed or message.applied_version != self.version or bool(message.executions)

    def _desired_state(self) -> run_queue_pb2.DesiredState:
        assert self.current is not None
        listed = {(state.run_id, state.attempt) for state in self.current.executions}
        state = run_queue_pb2.DesiredState(
            version=self.version, fleet_id=FLEET, wanted_catalogues=self.wanted_catalogues, drain=self.drain
        )
        named = {runner.local_key for runner in self.current.runners} | set(self.endpoints)
        for local_key in named:
            runner = state.runners.add(
                runner_id=_runner_id(local_key),
                local_key=local_key,
                epoch=self.epochs.setdefault(local_key, 1),
                enabled=local_key not in self.disabled,
            )
            if local_key in self.endpoints:
                runner.endpoint.url = self.endpoints[local_key]
        for key, desired in self.desired.items():
            made = state.executions.add()
            made.CopyFrom(desired)
            made.epoch = max(self.epochs.values(), default=1)
            if key not in listed:
                made.spec.CopyFrom(self.specs[key])
        return state

    def _runners(self) -> list[run_queue_pb2.RunnerState]:
        return list(self.current.runners) if self.current is not None else []

    def _say(self) -> None:
        for news in self._streams:
            news.put_nowait(None)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


_SPEC_FIELDS = frozenset({"inputs", "extra_data_json", "cache_salt", "max_output_bytes", "secrets", "warm_key"})


def _runner_id(local_key: str) -> str:
    return str(uuid5(NAMESPACE_URL, local_key))


@asynccontextmanager
async def open_run_room() -> AsyncIterator[ScriptedRunRoom]:
    """A run room on a free port."""
    server = grpc.aio.server()
    room = ScriptedRunRoom()
    room.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    run_queue_pb2_grpc.add_RunQueueServiceServicer_to_server(room, server)
    await server.start()
    try:
        yield room
    finally:
        await server.stop(None)
