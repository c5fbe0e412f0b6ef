"""A dispatcher that does what a test says: a small real client of RunQueueService, without any backend."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from comfyfleet.run.v1 import run_queue_pb2, run_queue_pb2_grpc, runner_pb2
from google.protobuf.duration_pb2 import Duration

from services.common.ids import new_id
from services.common.rpc.metadata import bearer

DEADLINE = 20.0


class ScriptedDispatcher:
    """Its runners and executions are what the test puts there; every change is one message."""

    def __init__(self, channel: grpc.aio.Channel, *, secret: str, name: str = "garage") -> None:
        self._stub: run_queue_pb2_grpc.RunQueueServiceAsyncStub = run_queue_pb2_grpc.RunQueueServiceStub(channel)
        self._metadata = bearer(secret)
        self.state = run_queue_pb2.CurrentState(dispatcher_id=name, session_id=new_id(), software="scripted 1")
        self.executions: dict[tuple[str, int], run_queue_pb2.ExecutionState] = {}
        self.desired: list[run_queue_pb2.DesiredState] = []
        self.specs: dict[str, run_queue_pb2.ExecutionSpec] = {}
        self._news = asyncio.Condition()
        self._outgoing: asyncio.Queue[run_queue_pb2.CurrentState] = asyncio.Queue()
        self._reader: asyncio.Task[None] | None = None
        self.ended_by: grpc.aio.AioRpcError | None = None
        self.ended = asyncio.Event()

    def add_runner(self, local_key: str = "gpu-0", **fields: Any) -> None:
        """One more backend, healthy and recovered unless said otherwise."""
        known = {"runtime": "comfyui", "health": runner_pb2.RUNNER_HEALTH_HEALTHY, "recovered": True, "ahead_slots": 8}
        self.state.runners.append(run_queue_pb2.RunnerState(local_key=local_key, **{**known, **fields}))

    def open(self) -> None:
        """Dial, and send the state."""
        self._outgoing = asyncio.Queue()
        self.ended.clear()
        call = self._stub.Synchronize(metadata=self._metadata)
        self._reader = asyncio.create_task(self._read(call, self._outgoing), name="scripted-dispatcher")
        self.send()

    async def close(self) -> None:
        """Hang up."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})

    def send(self) -> None:
        """Say what is."""
        self.state.message_number += 1
        del self.state.executions[:]
        self.state.executions.extend(self.executions.values())
        message = run_queue_pb2.CurrentState()
        message.CopyFrom(self.state)
        self._outgoing.put_nowait(message)

    def report(self, held: run_queue_pb2.DesiredExecution, **fields: Any) -> run_queue_pb2.ExecutionState:
        """Say where an execution is."""
        state = run_queue_pb2.ExecutionState(
            run_id=held.run_id, attempt=held.attempt, runner_id=held.runner_id, epoch=held.epoch, **fields
        )
        self.executions[held.run_id, held.attempt] = state
        self.send()
        return state

    def run(self, held: run_queue_pb2.DesiredExecution, *, seconds: float = 1.0, **fields: Any) -> None:
        """Say that the backend has been executing it for so long."""
        elapsed = Duration()
        elapsed.FromMilliseconds(round(seconds * 1000))
        self.report(held, running=run_queue_pb2.Running(elapsed=elapsed, backend_started=True), **fields)

    def finish(
        self,
        held: run_queue_pb2.DesiredExecution,
        outcome: "run_queue_pb2.Outcome.ValueType" = run_queue_pb2.OUTCOME_SUCCEEDED,
        *,
        outputs: int = 1,
        milliseconds: int = 5,
        **fields: Any,
    ) -> None:
        """Say that it ended, with so many outputs if it succeeded."""
        execution = Duration()
        execution.FromMilliseconds(milliseconds)
        finished = run_queue_pb2.Finished(outcome=outcome, execution=execution, **fields)
        made = [output(one) for one in range(outputs)] if outcome == run_queue_pb2.OUTCOME_SUCCEEDED else []
        self.report(held, finished=finished, outputs=made, outputs_count=len(made))

    async def until(self, condition: Callable[[run_queue_pb2.DesiredState], Any], *, seconds: float = DEADLINE) -> Any:
        """The condition's answer for the first newest desired state for which it is true."""
        async with asyncio.timeout(seconds), self._news:
            while True:
                if self.desired and (found := condition(self.desired[-1])):
                    return found
                await self._news.wait()

    async def assigned(self, run_id: str, *, attempt: int = 1) -> run_queue_pb2.DesiredExecution:
        """The execution, once it is desired here."""
        found: run_queue_pb2.DesiredExecution = await self.until(
            lambda desired: next((e for e in desired.executions if (e.run_id, e.attempt) == (run_id, attempt)), None)
        )
        return found

    async def gone(self, run_id: str) -> None:
        """Return once the run is not desired here."""
        await self.until(lambda desired: all(one.run_id != run_id for one in desired.executions))
        self.executions = {key: one for key, one in self.executions.items() if key[0] != run_id}

    async def upload(self, catalogue_hash: str, body: bytes) -> None:
        """UploadCatalogue."""

        async def parts() -> AsyncIterator[run_queue_pb2.CatalogueChunk]:
            yield run_queue_pb2.CatalogueChunk(catalogue_hash=catalogue_hash)
            for start in range(0, len(body), 1000):
                yield run_queue_pb2.CatalogueChunk(chunk=body[start : start + 1000])

        await self._stub.UploadCatalogue(parts(), metadata=self._metadata, timeout=DEADLINE)

    async def publish(self, *frames: run_queue_pb2.PreviewFrame) -> int:
        """PublishPreviews; how many were accepted."""

        async def messages() -> AsyncIterator[run_queue_pb2.PreviewFrame]:
            for frame in frames:
                yield frame

        answer = await self._stub.PublishPreviews(messages(), metadata=self._metadata, timeout=DEADLINE)
        return answer.accepted_count

    async def _read(self, call: Any, outgoing: "asyncio.Queue[run_queue_pb2.CurrentState]") -> None:
        writer = asyncio.create_task(_write(call, outgoing), name="scripted-writer")
        try:
            async for desired in call:
                async with self._news:
                    self._take(desired)
                    self._news.notify_all()
        except grpc.aio.AioRpcError as error:
            self.ended_by = error
        finally:
            writer.cancel()
            await asyncio.wait({writer})
            call.cancel()
            self.ended.set()

    def _take(self, desired: run_queue_pb2.DesiredState) -> None:
        self.desired.append(desired)
        for one in desired.executions:
            if one.HasField("spec"):
                self.specs[one.run_id] = one.spec
        by_key = {one.local_key: one for one in desired.runners}
        for runner in self.state.runners:
            named = by_key.get(runner.local_key)
            if named is not None:
                runner.runner_id, runner.epoch = named.runner_id, named.epoch


async def _write(call: Any, outgoing: "asyncio.Queue[run_queue_pb2.CurrentState]") -> None:
    while True:
        message = await outgoing.get()
        with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):  # the reader learns why it ended
            await call.write(message)


def output(ordinal: int, *, position: int | None = None) -> run_queue_pb2.Output:
    """An output of a save node; its place is that of its ordinal unless said otherwise."""
    return run_queue_pb2.Output(
        ordinal=ordinal,
        node_id="2",
        key="images",
        position=ordinal if position is None else position,
        file_id=new_id(),
        sha256=f"{ordinal:064x}",
        size_bytes=100 + ordinal,
        media_type="image/png",
        file_name=f"ComfyUI_{ordinal:05}_.png",
        kind="output",
    )
