"""The previews' own stream (A17): latest wins, at most four a second for each run, dropped when late."""

import asyncio

import grpc
import structlog
from comfyfleet.run.v1 import run_queue_pb2_grpc

from services.common.rpc.metadata import bearer
from services.dispatcher.model.execution import Preview
from services.dispatcher.worker.converters import preview_to_proto

_BETWEEN = 0.25
_WRITE_SECONDS = 5.0
_IDLE_SECONDS = 30.0
_RUNS = 64
_REDIAL_PAUSE = 1.0

log = structlog.get_logger()


class PreviewPublisher:
    """Sends pictures while there are any."""

    def __init__(self, *, stub: "run_queue_pb2_grpc.RunQueueServiceAsyncStub", secret: str) -> None:
        self._stub = stub
        self._metadata = bearer(secret)
        self._latest: dict[str, Preview] = {}
        self._offered = asyncio.Event()

    def offer(self, preview: Preview) -> None:
        """Send this one next, instead of an older one of the same run."""
        if len(self._latest) < _RUNS or preview.key.run_id in self._latest:
            self._latest[preview.key.run_id] = preview
            self._offered.set()

    async def run(self) -> None:
        """Until cancelled: a stream is open only while there are pictures."""
        while True:
            await self._offered.wait()
            try:
                await self._stream()
            except (grpc.aio.AioRpcError, TimeoutError, asyncio.InvalidStateError) as error:
                log.info("previews_ended", error=type(error).__name__)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
            await asyncio.sleep(_REDIAL_PAUSE)

    async def _stream(self) -> None:
        call = self._stub.PublishPreviews(metadata=self._metadata)
        try:
            while True:
                try:
                    async with asyncio.timeout(_IDLE_SECONDS):
                        await self._offered.wait()
                except TimeoutError:
                    await call.done_writing()
                    return
                self._offered.clear()
                waiting, self._latest = list(self._latest.values()), {}
                for preview in waiting:
                    async with asyncio.timeout(_WRITE_SECONDS):
                        await call.write(preview_to_proto(preview))
                await asyncio.sleep(_BETWEEN)
        finally:
            call.cancel()
