"""The events of one run, read from the run room one by one; its restart is a pause."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import grpc
from comfyfleet.run.v1 import run_event_pb2, run_service_pb2

from gateway.caller import Metadata

if TYPE_CHECKING:
    from comfyfleet.run.v1.run_service_pb2_grpc import RunServiceAsyncStub

EventCall = grpc.aio.UnaryStreamCall[Any, run_event_pb2.RunEvent]

_PAUSES = (0.1, 0.25, 0.5, 1.0, 2.0, 2.0, 4.0, 4.0)
"""Seconds before each attempt to reach a room that is away."""
_STEADY = 15.0
"""Seconds after which a stream that was watched again counts as whole, with all attempts before it."""


class RunEvents:
    """What `call` says; after it broke, what a watch from the last sequence on says.

    Nothing is read ahead. `watch`: how the run is watched again; its run and cursor follow the events.
    """

    def __init__(
        self,
        call: EventCall,
        *,
        runs: "RunServiceAsyncStub",
        watch: run_service_pb2.WatchRunRequest,
        metadata: Metadata,
    ) -> None:
        self._call = call
        self._runs = runs
        self._watch = watch
        self._metadata = metadata
        self._reading: asyncio.Task[run_event_pb2.RunEvent | None] | None = None
        self._loop = asyncio.get_running_loop()
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        self._pauses: Iterator[float] = iter(_PAUSES)
        self._steady_at = 0.0

    async def settled(self, seconds: float) -> bool:
        """Whether the first event, or that there is none, is known by then; `read` and `next` give it in any case."""
        self._reading = asyncio.create_task(self._receive(), name="first-event")
        await asyncio.wait({self._reading}, timeout=seconds)
        return self._reading.done()

    async def read(self) -> run_event_pb2.RunEvent | None:
        """The next event of this call; None at its end. AioRpcError where it is refused, or the room away."""
        reading, self._reading = self._reading, None
        event = await (self._receive() if reading is None else reading)
        if event is not None:
            self._watch.run_id = event.run_id
            if event.sequence:
                self._watch.after_sequence = event.sequence
        return event

    async def next(self) -> run_event_pb2.RunEvent | None:
        """The next event of the run; None at the end and after `stop`. AioRpcError where the room stays away."""
        while not self._stopped.done():
            try:
                return await self.read()
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or not await self._again():
                    raise
            except asyncio.CancelledError:
                if not self._stopped.done() or _is_cancelled():
                    raise
        return None

    def stop(self) -> None:
        """End the call, and a `next` that waits for it."""
        if not self._stopped.done():
            self._stopped.set_result(None)
        self._call.cancel()

    async def _receive(self) -> run_event_pb2.RunEvent | None:
        event = await self._call.read()
        return event if isinstance(event, run_event_pb2.RunEvent) else None

    async def _again(self) -> bool:
        """Watch again after a pause; false when that was tried often enough."""
        if self._loop.time() > self._steady_at:
            self._pauses = iter(_PAUSES)
        pause = next(self._pauses, None)
        if pause is None:
            return False
        self._steady_at = self._loop.time() + pause + _STEADY
        await asyncio.wait({self._stopped}, timeout=pause)
        if not self._stopped.done():
            self._call = self._runs.WatchRun(self._watch, metadata=self._metadata)
        return True


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
