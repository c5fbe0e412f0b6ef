"""Uploads node catalogues that the run room wants, each once (A16)."""

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
import structlog
from comfyfleet.run.v1 import run_queue_pb2, run_queue_pb2_grpc

from services.common.rpc.metadata import bearer

_CHUNK_BYTES = 256 * 1024
_SECONDS = 120.0
_AGAIN = 5.0
"""Seconds until one that is still wanted is sent again."""

log = structlog.get_logger()


class CatalogueUploader:
    """Sends what is wanted, one after the other."""

    def __init__(
        self,
        *,
        stub: "run_queue_pb2_grpc.RunQueueServiceAsyncStub",
        secret: str,
        find: Callable[[str], bytes | None],
    ) -> None:
        self._stub = stub
        self._metadata = bearer(secret)
        self._find = find
        self._wanted: dict[str, None] = {}
        self._sent_at: dict[str, float] = {}
        self._stirred = asyncio.Event()

    def want(self, hashes: tuple[str, ...]) -> None:
        """The run room wants these, and no others."""
        self._wanted = dict.fromkeys(hashes)
        self._sent_at = {wanted: at for wanted, at in self._sent_at.items() if wanted in self._wanted}
        if self._wanted:
            self._stirred.set()

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            for wanted in list(self._wanted):
                if loop.time() - self._sent_at.get(wanted, -_AGAIN) < _AGAIN:
                    continue
                content = self._find(wanted)
                if content is not None:
                    self._sent_at[wanted] = loop.time()
                    await self._send(wanted, content)

    async def _send(self, wanted: str, content: bytes) -> None:
        async def parts() -> AsyncIterator[run_queue_pb2.CatalogueChunk]:
            yield run_queue_pb2.CatalogueChunk(catalogue_hash=wanted)
            for start in range(0, len(content), _CHUNK_BYTES):
                yield run_queue_pb2.CatalogueChunk(chunk=content[start : start + _CHUNK_BYTES])

        try:
            await self._stub.UploadCatalogue(parts(), metadata=self._metadata, timeout=_SECONDS)
            log.info("catalogue_uploaded", catalogue_hash=wanted, size_bytes=len(content))
        except grpc.aio.AioRpcError as error:
            # Wanted again, it is sent again.
            log.warning("catalogue_refused", code=error.code().name, details=error.details())
