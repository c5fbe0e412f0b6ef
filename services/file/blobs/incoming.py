"""A file on its way into the local store."""

import asyncio
import errno
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from blake3 import blake3

from services.file.model.disk import disk_full
from services.file.model.file import Digest

T = TypeVar("T")

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FLUSH_BYTES = 64 * 1024 * 1024
"""After so many bytes the disk is told to begin, so that the last flush of a large file is short."""


class IncomingFile:
    """One upload's temporary file. Its work is done in `threads`, one step at a time, beside the event loop.

    1. `append` hands a batch to a thread, after the batch before it is written. 2. `finish` waits for the last one.
    3. `keep` flushes the file, renames it to its place and flushes the folders. 4. `discard` removes what was not kept.
    """

    def __init__(self, *, path: Path, place: Callable[[str], Path], threads: Executor) -> None:
        self._path = path
        self._place = place
        self._threads = threads
        self._descriptor = -1
        self._sha256, self._blake3 = sha256(), blake3()
        self._size_bytes = 0
        self._unflushed_bytes = 0
        self._step: asyncio.Future[None] | None = None

    async def append(self, chunks: Sequence[bytes]) -> None:
        await self._previous_step()
        self._step = self._in_thread(lambda: self._write(chunks))

    async def finish(self) -> Digest:
        await self._previous_step()
        return Digest(size_bytes=self._size_bytes, sha256=self._sha256.hexdigest(), blake3=self._blake3.hexdigest())

    async def keep(self) -> str:
        return await self._in_thread(self._keep)

    async def discard(self) -> None:
        """Remove the file unless it was kept; the thread that may still be writing is waited for."""
        if self._step is not None:
            await asyncio.wait({self._step})
            if not self._step.cancelled():
                self._step.exception()  # seen: whoever appended last no longer asks
        await self._in_thread(self._remove)

    async def _previous_step(self) -> None:
        step, self._step = self._step, None
        if step is None:
            return
        try:
            await asyncio.shield(step)
        except asyncio.CancelledError:
            self._step = step  # the thread goes on: `discard` waits for it
            raise

    def _in_thread(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._threads, _with_room, work)

    def _write(self, chunks: Sequence[bytes]) -> None:
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        for chunk in chunks:
            self._sha256.update(chunk)
            self._blake3.update(chunk)
            written = 0
            while written < len(chunk):  # a nearly full disk takes a part, and says so at the next call
                written += os.write(self._descriptor, memoryview(chunk)[written:])
            self._size_bytes += len(chunk)
            self._unflushed_bytes += len(chunk)
        if self._unflushed_bytes >= _FLUSH_BYTES:
            os.fdatasync(self._descriptor)
            self._unflushed_bytes = 0

    def _keep(self) -> str:
        if self._descriptor < 0:
            self._write(())
        os.fsync(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        key = f"{self._sha256.hexdigest()}-{self._path.name}"
        place = self._place(key)
        try:
            place.parent.mkdir(mode=0o700)
        except FileExistsError:
            pass
        else:
            flush_folder(place.parent.parent)
        self._path.rename(place)
        flush_folder(place.parent)
        return key

    def _remove(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._path.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Make names in `folder` durable: a rename alone may be forgotten by a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _with_room(work: Callable[[], T]) -> T:
    try:
        return work()
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise disk_full() from error
