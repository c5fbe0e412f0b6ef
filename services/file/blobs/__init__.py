"""Bytes that are too large for a row: what every store of blobs promises.

A blob's key is its SHA-256 and a mark of its own, `<sha256>-<mark>`: two uploads of the same bytes never share a key,
so that removing one of them can never take the bytes from under the other's record. Which of them is kept is decided
by the transaction that writes the content's row; a key that no row names is an orphan.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from services.file.model.byte_range import ByteRange
from services.file.model.file import Digest


class IncomingBlob(Protocol):
    """Bytes on their way in. They are nobody's until they are kept; leaving its block removes what was not."""

    async def append(self, chunks: Sequence[bytes]) -> None:
        """Add `chunks`; ResourceExhausted DISK_FULL if there is no room for them.

        Returns when the bytes before these are written: the next ones may be fetched while these are.
        """
        ...

    async def finish(self) -> Digest:
        """Wait until all bytes are written; what they are. Nothing may be appended after it."""
        ...

    async def keep(self) -> str:
        """Make the bytes durable and give the key under which they are found from now on."""
        ...


class Blobs(Protocol):
    """A store of immutable bytes."""

    def incoming(self) -> AbstractAsyncContextManager[IncomingBlob]:
        """A place for new bytes."""
        ...

    def read(self, key: str, byte_range: ByteRange, *, size_bytes: int, sha256: str) -> AsyncGenerator[bytes, None]:
        """The bytes of a range, in chunks of up to CHUNK_BYTES.

        DataLoss if the blob is gone or has another size, and, where the range is the whole of it, another hash; that
        is known only at the end, and then the last chunk is withheld.
        """
        ...

    async def size(self, key: str) -> int | None:
        """How many bytes the blob has; None if there is no such blob."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove blobs; those that are gone already are no error."""
        ...

    async def reclaim(self) -> int:
        """Remove what processes that died left on its way in; the number of bytes that this freed."""
        ...

    async def older_than(self, moment: datetime, *, part: int) -> list[str]:
        """Keys of one of the PARTS parts of the store, of blobs that were finished before `moment`."""
        ...


PARTS = 256
"""Into how many parts a store is divided for looking through it."""
