"""New files: in one message, as a stream, or from a `data:` URI."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from services.common.clock import Clock
from services.common.errors import DomainError, InvalidArgument, Unavailable, Violation
from services.common.ids import Ids
from services.file.blobs import Blobs
from services.file.model.access import Access, output_limit
from services.file.model.data_uri import parse_data_uri
from services.file.model.fact import Occasion
from services.file.model.file import CHUNK_BYTES, INLINE_BYTES, PROVISIONAL_FOR, Content, Digest, File
from services.file.model.media_type import HEAD_BYTES, media_type_of
from services.file.model.new_file import NewFile
from services.file.service.finishing import to_its_end
from services.file.service.intake import Intake, digest_of
from services.file.store.files import Added, Addition, FileStore


@dataclass(frozen=True, kw_only=True)
class StoringRules:
    """What an installation allows."""

    max_file_bytes: int
    provisional_for: timedelta = PROVISIONAL_FOR


class Storing:
    """Stores files. A record exists only once its bytes are durable, and nothing is left of what failed.

    1. The header is checked. 2. Bytes come in, hashed and counted on their way; few stay in memory, many go to a
    temporary file. 3. They are compared with what was declared. 4. A blob is flushed and put in its place. 5. One
    transaction makes the record, and with few bytes the content too; equal bytes that are there already are kept, and
    the new blob goes.
    """

    def __init__(self, *, store: FileStore, blobs: Blobs, clock: Clock, ids: Ids, rules: StoringRules) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._ids = ids
        self._rules = rules
        self.on_stored: Callable[[], None] = _nothing
        """Called after a record was made: the facts' relay wakes up."""

    async def put(self, access: Access, new: NewFile, content: bytes) -> File:
        """Store bytes at hand, at most CHUNK_BYTES."""
        if len(content) > CHUNK_BYTES:
            message = f"Send at most {CHUNK_BYTES} bytes in one message; UploadFile takes more."
            raise InvalidArgument(violations=[Violation("content", "TOO_LONG", message)])
        return await self._store_bytes(access, new, content)

    async def upload(self, access: Access, new: NewFile, chunks: AsyncIterator[bytes]) -> File:
        """Store bytes as they come."""
        self._check(access, new)
        intake = Intake(
            new=new,
            max_file_bytes=self._rules.max_file_bytes,
            attempt_bytes_left=await self._attempt_bytes_left(access, new),
        )
        async with self._blobs.incoming() as blob:
            async for batch in intake.batches(chunks):
                await blob.append(batch)
            if intake.is_small:
                return await self._store_small(access, new, b"".join(intake.rest()))
            await blob.append(intake.rest())
            digest = await blob.finish()
            new.check_bytes(digest)
            return await to_its_end(self._store_blob(access, new, digest, intake.head, blob.keep))

    async def import_uri(self, access: Access, new: NewFile, uri: str) -> File:
        """Store the bytes of a `data:` URI; the type that it names counts where the header names none."""
        parsed = await asyncio.to_thread(parse_data_uri, uri)
        if not new.media_type:
            new = replace(new, media_type=parsed.media_type)
        return await self._store_bytes(access, new, parsed.content)

    async def _store_bytes(self, access: Access, new: NewFile, content: bytes) -> File:
        if len(content) > INLINE_BYTES:
            return await self.upload(access, new, _pieces(content))
        self._check(access, new)
        return await self._store_small(access, new, content)

    def _check(self, access: Access, new: NewFile) -> None:
        new.check(max_file_bytes=self._rules.max_file_bytes)
        access.check_new(new)

    async def _attempt_bytes_left(self, access: Access, new: NewFile) -> int | None:
        if access.grant is None or new.origin is None:
            return None
        left = access.grant.max_bytes - await self._store.attempt_bytes(new.origin.run_id, new.origin.attempt)
        if new.size_bytes is not None and new.size_bytes > left:
            raise output_limit()
        return left

    async def _store_small(self, access: Access, new: NewFile, content: bytes) -> File:
        digest = digest_of(content)
        new.check_bytes(digest)
        addition = self._addition(access, new, digest, content[:HEAD_BYTES], Content(body=content))
        added = await self._add(access, addition)
        await self._blobs.delete(added.freed_keys)
        return added.stored.file

    async def _store_blob(
        self, access: Access, new: NewFile, digest: Digest, head: bytes, keep: Callable[[], Awaitable[str]]
    ) -> File:
        key = await keep()
        try:
            added = await self._add(access, self._addition(access, new, digest, head, Content(blob_key=key)))
        except Unavailable:
            raise  # the record may have been made: the sweep knows later whether the blob is anybody's
        except DomainError:
            await self._blobs.delete([key])
            raise
        kept = added.took_content or await self._heals(added, key)
        await self._blobs.delete([*added.freed_keys, *([] if kept else [key])])
        return added.stored.file

    async def _heals(self, added: Added, key: str) -> bool:
        """Whether the blob that the record had until now is lost, and the new one took its place."""
        present = added.stored.content.blob_key
        file = added.stored.file
        if present is None or await self._blobs.size(present) == file.size_bytes:
            return False
        return await self._store.replace_blob(file.sha256, lost=present, found=key)

    async def _add(self, access: Access, addition: Addition) -> Added:
        added = await self._store.add(addition, Occasion(at=addition.file.created_at, request_id=access.request_id))
        if added.created:
            self.on_stored()
        return added

    def _addition(self, access: Access, new: NewFile, digest: Digest, head: bytes, content: Content) -> Addition:
        now = self._clock.now()
        file = File(
            id=self._ids.new_id(),
            team_id=access.team_id,
            file_name=new.file_name,
            media_type=media_type_of(claimed=new.media_type, file_name=new.file_name, head=head),
            size_bytes=digest.size_bytes,
            sha256=digest.sha256,
            blake3=digest.blake3,
            created_at=now,
            expires_at=now + self._rules.provisional_for if new.provisional else None,
            origin=new.origin,
            provisional=new.provisional,
        )
        return Addition(
            file=file,
            content=content,
            # A dispatcher's request ids must not meet those of the team: an output is recognised by its place.
            request_id=None if access.grant else new.request_id,
            request_hash=new.request_hash(digest.sha256),
            max_attempt_bytes=access.grant.max_bytes if access.grant else None,
        )


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]


def _nothing() -> None:
    """Nobody asked to be told."""
