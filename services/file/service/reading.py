"""Files that exist: their records, their bytes, and lists of them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from services.common.clock import Clock
from services.common.errors import DataLoss
from services.common.filtering import Page
from services.common.ids import is_id
from services.file.blobs import Blobs
from services.file.model.access import Access, no_such_file
from services.file.model.byte_range import ByteRange, byte_range
from services.file.model.file import CHUNK_BYTES, File, StoredFile
from services.file.store.files import FileStore
from services.file.store.listing import FileListing, ListQuery


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file's bytes, or a range of them, on their way."""

    file: File
    byte_range: ByteRange
    chunks: AsyncGenerator[bytes, None]
    """Up to CHUNK_BYTES each; to be closed by the reader. DataLoss, or NotFound if it was deleted meanwhile."""


class Reading:
    """Reads files, of the caller's team only and, with a file token, of its run only."""

    def __init__(self, *, store: FileStore, listing: FileListing, blobs: Blobs, clock: Clock) -> None:
        self._store = store
        self._listing = listing
        self._blobs = blobs
        self._clock = clock

    async def get(self, access: Access, file_id: str) -> File:
        """The record; NotFound."""
        file = (await self._find(access, file_id)).file
        if access.may_see(file) or await self._is_bound(access, file_id):
            return file
        raise no_such_file()

    async def download(self, access: Access, file_id: str, *, offset: int, length: int) -> Download:
        """`length` bytes from `offset` on, 0 meaning to the end; NotFound, OutOfRange."""
        stored = await self._find(access, file_id)
        file = stored.file
        if not access.may_read(file) and not await self._is_bound(access, file_id):
            raise no_such_file()
        wanted = byte_range(offset=offset, length=length, size_bytes=file.size_bytes)
        body = stored.content.body
        chunks = self._blob(access, stored, wanted) if body is None else _pieces(body, wanted)
        return Download(file=file, byte_range=wanted, chunks=chunks)

    async def list(self, access: Access, query: ListQuery) -> Page[File]:
        """A page of the team's files."""
        return await self._listing.list(access.team_id, query, now=self._clock.now())

    async def _find(self, access: Access, file_id: str) -> StoredFile:
        stored = None
        if is_id(file_id):
            stored = await self._store.find(access.team_id, file_id, now=self._clock.now())
        if stored is None:
            raise no_such_file()
        return stored

    async def _is_bound(self, access: Access, file_id: str) -> bool:
        grant = access.grant
        return grant is not None and access.reads_what_is_bound and await self._store.find_bound(grant.run_id, file_id)

    async def _blob(self, access: Access, stored: StoredFile, wanted: ByteRange) -> AsyncGenerator[bytes, None]:
        file, key = stored.file, stored.content.blob_key
        assert key is not None
        chunks = self._blobs.read(key, wanted, size_bytes=file.size_bytes, sha256=file.sha256)
        async with aclosing(chunks):
            try:
                async for chunk in chunks:
                    yield chunk
            except DataLoss:
                await self._find(access, file.id)  # raises, where it was deleted since we read the record
                raise


async def _pieces(body: bytes, wanted: ByteRange) -> AsyncGenerator[bytes, None]:
    for start in range(wanted.offset, wanted.end, CHUNK_BYTES):
        yield body[start : min(start + CHUNK_BYTES, wanted.end)]
