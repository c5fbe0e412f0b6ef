"""Bytes as they come in: counted against every limit, and gathered into batches for the disk."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from hashlib import sha256

from blake3 import blake3

from services.common.errors import DeadlineExceeded, InvalidArgument, Violation
from services.file.model.access import output_limit
from services.file.model.file import INLINE_BYTES, Digest
from services.file.model.media_type import HEAD_BYTES
from services.file.model.new_file import NewFile, check_size

BATCH_BYTES = 1024 * 1024
BATCH_CHUNKS = 64
"""A batch ends here too: a sender of tiny chunks must not make us keep many of them."""
STALL = timedelta(seconds=60)
"""A sender that is silent for so long has lost its connection, or means us no good."""


class Intake:
    """One upload's bytes, chunk by chunk."""

    def __init__(self, *, new: NewFile, max_file_bytes: int, attempt_bytes_left: int | None) -> None:
        self._new = new
        self._max_file_bytes = max_file_bytes
        self._attempt_bytes_left = attempt_bytes_left
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self.size_bytes = 0
        self.head = b""
        """The first bytes, by which the type is found."""

    @property
    def is_small(self) -> bool:
        """Whether all that came so far fits into a row."""
        return self.size_bytes <= INLINE_BYTES

    async def batches(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[Sequence[bytes]]:
        """Batches for the disk, none before it is known that the file does not fit into a row."""
        while (chunk := await _next(chunks)) is not None:
            self._take(chunk)
            if not self.is_small and (self._waiting_bytes >= BATCH_BYTES or len(self._waiting) >= BATCH_CHUNKS):
                yield self.rest()

    def rest(self) -> Sequence[bytes]:
        """What waits, which is then no longer kept here."""
        batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return batch

    def _take(self, chunk: bytes) -> None:
        if not chunk:
            return
        self.size_bytes += len(chunk)
        self._check()
        if len(self.head) < HEAD_BYTES:
            self.head += chunk[: HEAD_BYTES - len(self.head)]
        self._waiting.append(chunk)
        self._waiting_bytes += len(chunk)

    def _check(self) -> None:
        check_size(self.size_bytes, max_file_bytes=self._max_file_bytes)
        declared = self._new.size_bytes
        if declared is not None and self.size_bytes > declared:
            message = f"{declared} bytes were declared and more came; send them again."
            raise InvalidArgument(violations=[Violation("header.size_bytes", "SIZE_MISMATCH", message)])
        if self._attempt_bytes_left is not None and self.size_bytes > self._attempt_bytes_left:
            raise output_limit()


def digest_of(content: bytes) -> Digest:
    """The digest of bytes at hand."""
    return Digest(size_bytes=len(content), sha256=sha256(content).hexdigest(), blake3=blake3(content).hexdigest())


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(STALL.total_seconds()):
            return await anext(chunks, None)
    except TimeoutError as error:
        seconds = int(STALL.total_seconds())
        raise DeadlineExceeded(f"No bytes came for {seconds} s; upload again.", reason="UPLOAD_STALLED") from error
