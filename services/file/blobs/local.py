"""Blobs in a folder of this machine.

`<root>/ab/cdef…-<mark>` are blobs, by the first two digits of their hash. `<root>/incoming/<process>/` holds what is on
its way in, on the same filesystem so that a rename moves it; each process locks its own folder there, and what stands
in an unlocked one was left by a process that died.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

from services.common.errors import DataLoss, FailedPrecondition
from services.common.ids import new_id
from services.common.sql.folder_lock import LOCK_FILE, folder_lock
from services.file.blobs.incoming import IncomingFile, flush_folder
from services.file.model.byte_range import ByteRange
from services.file.model.file import CHUNK_BYTES

INCOMING = "incoming"
INCOMING_WAIT = timedelta(seconds=30)
THREADS = 8
"""Uploads and downloads whose disk work goes on at once; further ones wait their turn, batch by batch."""
READ_BYTES = 4 * CHUNK_BYTES
"""Read in one go: one hop to a thread for several messages of a stream."""


class LocalBlobs:
    """Blobs under `root`; made by `open_local_blobs`."""

    def __init__(self, *, root: Path, own: Path, threads: Executor) -> None:
        self._root = root
        self._own = own
        self._threads = threads

    @asynccontextmanager
    async def incoming(self) -> AsyncIterator[IncomingFile]:
        blob = IncomingFile(path=self._own / new_id(), place=self._place, threads=self._threads)
        try:
            yield blob
        finally:
            await asyncio.shield(blob.discard())

    async def read(
        self, key: str, byte_range: ByteRange, *, size_bytes: int, sha256: str
    ) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        reader = _Reader(self._place(key), byte_range, size_bytes, sha256)
        ahead = loop.run_in_executor(self._threads, reader.open_and_read)
        try:
            while chunks := await asyncio.shield(ahead):
                ahead = loop.run_in_executor(self._threads, reader.read)
                for chunk in chunks:
                    yield chunk
        finally:
            ahead.add_done_callback(lambda done: _close_after(done, reader))

    async def size(self, key: str) -> int | None:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _size, self._place(key))

    async def delete(self, keys: Sequence[str]) -> None:
        if keys:
            paths = [self._place(key) for key in keys]
            await asyncio.get_running_loop().run_in_executor(self._threads, _delete, paths)

    async def reclaim(self) -> int:
        async with folder_lock(self._root / INCOMING, wait=INCOMING_WAIT):
            return await self.reclaim_locked()

    async def reclaim_locked(self) -> int:
        """As `reclaim`, for whoever holds the lock of the folder of incoming files."""
        freed = 0
        for folder in [each for each in (self._root / INCOMING).iterdir() if each.is_dir() and each != self._own]:
            try:
                async with folder_lock(folder):
                    freed += await asyncio.to_thread(_remove_folder, folder)
            except FailedPrecondition:  # another process of this room is at work there
                continue
        return freed

    async def older_than(self, moment: datetime, *, part: int) -> list[str]:
        return await asyncio.to_thread(_older_than, self._root / f"{part:02x}", moment.timestamp())

    def _place(self, key: str) -> Path:
        return self._root / key[:2] / key[2:]


class _Reader:
    """Reads a range of a file, in batches of chunks; used by one thread at a time."""

    def __init__(self, path: Path, byte_range: ByteRange, size_bytes: int, sha256_hex: str) -> None:
        self._path = path
        self._range = byte_range
        self._size_bytes = size_bytes
        self._expected = sha256_hex if byte_range.is_whole(size_bytes) else None
        self._hash = sha256()
        self._position = byte_range.offset
        self._descriptor = -1

    def open_and_read(self) -> list[bytes]:
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise _damaged("gone") from error
        if os.fstat(self._descriptor).st_size != self._size_bytes:
            raise _damaged("of another size")
        return self.read()

    def read(self) -> list[bytes]:
        """The next chunks; none at the end."""
        chunks: list[bytes] = []
        target = min(self._range.end, self._position + READ_BYTES)
        while self._position < target:
            chunk = os.pread(self._descriptor, min(CHUNK_BYTES, target - self._position), self._position)
            if not chunk:
                raise _damaged("cut short")
            self._position += len(chunk)
            if self._expected:
                self._hash.update(chunk)
            chunks.append(chunk)
        at_end = bool(chunks) and self._position == self._range.end
        if at_end and self._expected and self._hash.hexdigest() != self._expected:
            raise _damaged("damaged")
        return chunks

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _close_after(done: "asyncio.Future[list[bytes]]", reader: _Reader) -> None:
    if not done.cancelled():
        done.exception()  # seen: nobody reads on
    reader.close()


def _damaged(what: str) -> DataLoss:
    return DataLoss(f"The stored bytes are {what}; upload the file again.", reason="BLOB_DAMAGED")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _delete(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _remove_folder(folder: Path) -> int:
    freed = sum(each.stat().st_size for each in folder.iterdir() if each.name != LOCK_FILE)
    shutil.rmtree(folder)
    return freed


def _older_than(folder: Path, timestamp: float) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [folder.name + each.name for each in entries if each.stat().st_mtime < timestamp]


@asynccontextmanager
async def open_local_blobs(root: Path) -> AsyncIterator[LocalBlobs]:
    """The blobs under `root`, which is made if missing; what earlier processes left half-way is removed."""
    own = root / INCOMING / new_id()
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")
    try:
        async with AsyncExitStack() as stack:
            # Locked as a whole meanwhile: nobody may take the new folder for an abandoned one before it is locked.
            async with folder_lock(root / INCOMING, wait=INCOMING_WAIT):
                await stack.enter_async_context(folder_lock(own))
                blobs = LocalBlobs(root=root, own=own, threads=threads)
                await blobs.reclaim_locked()
            for folder in (root, root.parent):  # perhaps made just now
                await asyncio.to_thread(flush_folder, folder)
            yield blobs
            await asyncio.to_thread(_remove_folder, own)
    finally:
        threads.shutdown()
