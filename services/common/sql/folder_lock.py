"""One process per room's folder: an advisory lock that dies with its holder."""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from services.common.errors import FailedPrecondition

LOCK_FILE = ".lock"
_POLL = 0.05


@asynccontextmanager
async def folder_lock(folder: Path, *, wait: timedelta = timedelta()) -> AsyncIterator[None]:
    """Hold `folder` (made, 0700, if missing) for this process; FailedPrecondition FOLDER_LOCKED after `wait`.

    `flock` belongs to the open file: it is released by the kernel when the holder dies, however it dies.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait.total_seconds()
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise FailedPrecondition(
                    f"Another process (pid {_holder(descriptor)}) serves {folder}: stop it first.",
                    reason="FOLDER_LOCKED",
                    metadata={"folder": str(folder)},
                )
            await asyncio.sleep(_POLL)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 20, 0).decode() or "unknown"
