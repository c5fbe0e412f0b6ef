"""Brings the outputs of one execution from the backend into the file room, each once, as soon as it is known."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import aiohttp
import structlog

from services.common.errors import DomainError, NotFound, ResourceExhausted, Unauthenticated, Unavailable
from services.dispatcher.drivers.comfyui.client import PIECE_BYTES, ComfyClient
from services.dispatcher.drivers.comfyui.outputs import BackendFile, Entry, PlainValue, media_type_of
from services.dispatcher.drivers.driver import BackendAway, Files, Observer
from services.dispatcher.model.desired import ExecutionKey
from services.dispatcher.model.output import Output, OutputHeader, OutputPlace, StoredFile

SMALL_BYTES = 256 * 1024
"""Up to here an output goes in one unary message, above it is streamed (EXECUTION D)."""
_PATIENCE = 5
"""How often a refusal by the file room is tried again with the token of the moment."""
_LONGEST_PAUSE = 5.0

log = structlog.get_logger()


class OutputMissing(Exception):
    """The backend no longer has the file."""


class OutputRefused(Exception):
    """The output cannot be stored."""

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An output that came as a frame."""

    place: OutputPlace
    media_type: str
    content: bytes
    file_name: str


Collectable = Entry | Picture


class OutputCollector:
    """The outputs of one execution. Ordinals follow the order of finding; only a prefix without gaps is reported."""

    def __init__(
        self,
        *,
        key: ExecutionKey,
        client: ComfyClient,
        files: Files,
        observer: Observer,
        max_bytes: int,
        slots: asyncio.Semaphore,
    ) -> None:
        self._key = key
        self._client = client
        self._files = files
        self._observer = observer
        self._max_bytes = max_bytes
        self._sizes: dict[OutputPlace, int] = {}
        self._slots = slots
        self._order: list[Collectable] = []
        self._tasks: dict[OutputPlace, asyncio.Task[None]] = {}
        self._stored: dict[OutputPlace, StoredFile] = {}
        self._cached: frozenset[str] = frozenset()
        self.lost: set[OutputPlace] = set()
        """Places whose file the backend no longer has."""
        self.refused: OutputRefused | None = None
        """The first output that could not be stored."""

    def cached(self, nodes: frozenset[str]) -> None:
        """Outputs of these nodes are from an earlier prompt; said by a frame, and again by the history."""
        if nodes != self._cached:
            self._cached = nodes
            self._observer.stored(self._prefix())

    def add(self, found: Sequence[Collectable]) -> None:
        """Begin to bring outputs over; a place that is known already is not brought again."""
        for entry in found:
            if entry.place in self._tasks:
                continue
            if not any(entry.place == known.place for known in self._order):
                self._order.append(entry)
            name = f"output-{entry.place.node_id}-{entry.place.key}-{entry.place.position}"
            self._tasks[entry.place] = asyncio.create_task(self._bring(entry), name=name)

    def forget_lost(self) -> None:
        """Let lost places be found again, by another execution of the same prompt (A12)."""
        for place in self.lost:
            del self._tasks[place]
        self._order = [entry for entry in self._order if entry.place not in self.lost]
        self.lost = set()

    async def finish(self) -> None:
        """Wait until everything added is stored, lost or refused."""
        tasks = list(self._tasks.values())
        if any(not task.done() for task in tasks):
            await asyncio.wait(tasks)
        for task in tasks:
            task.result()

    async def close(self) -> None:
        """End what is still on its way; nothing is awaited that could wait."""
        waiting = [task for task in self._tasks.values() if not task.done()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _bring(self, entry: Collectable) -> None:
        try:
            async with self._slots:
                stored = await self._persistently(entry)
        except OutputMissing:
            self.lost.add(entry.place)
            return
        except OutputRefused as error:
            self.refused = self.refused or error
            return
        self._stored[entry.place] = stored
        if isinstance(entry, Picture):
            # The pixels are stored; keeping them to the end of a long run would be a leak.
            self._order = [replace(entry, content=b"") if known is entry else known for known in self._order]
        self._observer.stored(self._prefix())

    def _prefix(self) -> tuple[Output, ...]:
        outputs: list[Output] = []
        for ordinal, entry in enumerate(self._order):
            stored = self._stored.get(entry.place)
            if stored is None:
                break
            outputs.append(
                Output(
                    ordinal=ordinal,
                    place=entry.place,
                    file=stored,
                    file_name=entry.file_name,
                    kind=_kind(entry),
                    cached=entry.place.node_id in self._cached,
                )
            )
        return tuple(outputs)

    async def _persistently(self, entry: Collectable) -> StoredFile:
        """Until it is stored or known to be impossible: an absence of backend or file room costs time, not outputs."""
        pause, refusals = 0.1, 0
        while True:
            try:
                return await self._store(entry)
            except (BackendAway, Unavailable) as error:
                log.info("output_waits", run_id=self._key.run_id, reason=str(error))
            except ResourceExhausted as error:
                if error.retry_after is None:
                    raise OutputRefused("OUTPUTS_TOO_LARGE", error.message, retryable=False) from error
            except (NotFound, Unauthenticated) as error:
                # The token may just have been renewed.
                refusals += 1
                if refusals >= _PATIENCE:
                    raise OutputRefused("OUTPUT_REFUSED", error.message, retryable=True) from error
            except DomainError as error:
                raise OutputRefused("OUTPUT_REFUSED", error.message, retryable=False) from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _store(self, entry: Collectable) -> StoredFile:
        if isinstance(entry, BackendFile):
            return await self._store_file(entry)
        self._count(entry.place, len(entry.content))
        header = self._header(entry, entry.media_type)
        if len(entry.content) <= SMALL_BYTES:
            return await self._put(header, entry.content)
        return await self._files.upload(header, _pieces(entry.content), token=self._observer.file_token())

    async def _store_file(self, entry: BackendFile) -> StoredFile:
        async with self._client.view(entry) as response:
            if response.status == 404:
                raise OutputMissing
            if response.status >= 500:
                raise BackendAway(f"/view answered {response.status}")
            if response.status != 200:
                message = f"The backend answered {response.status} for an output that it named."
                raise OutputRefused("OUTPUT_UNREADABLE", message, retryable=False)
            header = self._header(entry, media_type_of(entry.file_name, response.content_type))
            length = response.content_length
            if length is not None and length <= SMALL_BYTES:
                content = await response.read()
                self._count(entry.place, len(content))
                return await self._put(header, content)
            return await self._stream(header, response)

    async def _put(self, header: OutputHeader, content: bytes) -> StoredFile:
        stored = await self._files.put(header, content, token=self._observer.file_token())
        if stored.sha256 != hashlib.sha256(content).hexdigest():
            raise OutputRefused("OUTPUT_DIFFERS", "The file room has other bytes for this output.", retryable=True)
        return stored

    async def _stream(self, header: OutputHeader, response: aiohttp.ClientResponse) -> StoredFile:
        """From the backend into the file room, never more than a piece in memory."""
        digest, size = hashlib.sha256(), 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal size
            async for piece in response.content.iter_chunked(PIECE_BYTES):
                size += len(piece)
                self._count(header.place, size)
                digest.update(piece)
                yield piece

        stored = await self._files.upload(header, pieces(), token=self._observer.file_token())
        if stored.sha256 != digest.hexdigest():
            raise OutputRefused("OUTPUT_DIFFERS", "The file room has other bytes for this output.", retryable=True)
        return stored

    def _count(self, place: OutputPlace, size: int) -> None:
        """So many bytes of this output came; a repeated attempt counts anew."""
        self._sizes[place] = size
        if 0 < self._max_bytes < sum(self._sizes.values()):
            raise OutputRefused("OUTPUTS_TOO_LARGE", "The run's outputs exceed its limit.", retryable=False)

    def _header(self, entry: Collectable, media_type: str) -> OutputHeader:
        return OutputHeader(
            run_id=self._key.run_id,
            attempt=self._key.attempt,
            place=entry.place,
            file_name=entry.file_name,
            media_type=media_type,
        )


def _kind(entry: Collectable) -> str:
    if isinstance(entry, PlainValue):
        return entry.kind
    if isinstance(entry, Picture):
        return "frame"
    return "temp" if entry.type == "temp" else "output"


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), PIECE_BYTES):
        yield content[start : start + PIECE_BYTES]
