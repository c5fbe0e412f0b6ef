"""What every store of blobs promises."""

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
import pytest_asyncio
from blake3 import blake3

from services.common.errors import DataLoss, ResourceExhausted
from services.common.ids import new_id
from services.file.blobs import PARTS, Blobs
from services.file.blobs.local import INCOMING, LocalBlobs, open_local_blobs
from services.file.model.byte_range import ByteRange
from services.file.model.file import CHUNK_BYTES, Digest

OPEN_FILES = Path("/proc/self/fd")
CONTENT = os.urandom(3 * CHUNK_BYTES + 17)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest_asyncio.fixture
async def blobs(root: Path) -> AsyncIterator[Blobs]:
    async with open_local_blobs(root) as opened:
        yield opened


async def keep(blobs: Blobs, content: bytes = CONTENT) -> tuple[str, Digest]:
    async with blobs.incoming() as blob:
        for start in range(0, len(content), CHUNK_BYTES):
            await blob.append([content[start : start + CHUNK_BYTES]])
        digest = await blob.finish()
        return await blob.keep(), digest


async def read(
    blobs: Blobs, key: str, content: bytes = CONTENT, *, offset: int = 0, length: int | None = None
) -> bytes:
    wanted = ByteRange(offset=offset, length=len(content) - offset if length is None else length)
    digest = sha256(content).hexdigest()
    async with aclosing(blobs.read(key, wanted, size_bytes=len(content), sha256=digest)) as chunks:
        return b"".join([chunk async for chunk in chunks])


def incoming_files(root: Path) -> list[Path]:
    return [path for path in (root / INCOMING).glob("*/*") if path.name != ".lock"]


async def test_bytes_come_back_and_their_digest_is_right(blobs: Blobs) -> None:
    key, digest = await keep(blobs)
    assert await read(blobs, key) == CONTENT
    assert digest.size_bytes == len(CONTENT)
    assert (digest.sha256, digest.blake3) == (sha256(CONTENT).hexdigest(), blake3(CONTENT).hexdigest())
    assert await blobs.size(key) == len(CONTENT)


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 1), (1, CHUNK_BYTES), (CHUNK_BYTES - 1, 2), (len(CONTENT), 0), (5, None)]
)
async def test_ranges_are_exact(blobs: Blobs, offset: int, length: int | None) -> None:
    key, _ = await keep(blobs)
    end = None if length is None else offset + length
    assert await read(blobs, key, offset=offset, length=length) == CONTENT[offset:end]


async def test_chunks_have_at_most_the_size_of_a_message(blobs: Blobs) -> None:
    key, digest = await keep(blobs)
    whole = ByteRange(offset=0, length=digest.size_bytes)
    async with aclosing(blobs.read(key, whole, size_bytes=digest.size_bytes, sha256=digest.sha256)) as chunks:
        sizes = [len(chunk) async for chunk in chunks]
    assert max(sizes) == CHUNK_BYTES


async def test_the_same_bytes_twice_have_two_keys_of_which_one_may_go(blobs: Blobs) -> None:
    (first, digest), (second, _) = await asyncio.gather(keep(blobs), keep(blobs))
    assert first != second
    assert first[:64] == second[:64] == digest.sha256
    await blobs.delete([first, first])
    assert await blobs.size(first) is None
    assert await read(blobs, second) == CONTENT


async def test_what_is_not_kept_leaves_nothing(blobs: Blobs, root: Path) -> None:
    async with blobs.incoming() as blob:
        await blob.append([CONTENT])
        await blob.finish()
        assert incoming_files(root)
    assert incoming_files(root) == []


async def test_a_cancelled_upload_leaves_nothing(blobs: Blobs, root: Path) -> None:
    started = asyncio.Event()

    async def upload() -> None:
        async with blobs.incoming() as blob:
            while True:
                await blob.append([CONTENT] * 20)
                started.set()

    task = asyncio.create_task(upload())
    await asyncio.wait_for(started.wait(), 10)
    task.cancel()
    await asyncio.wait({task}, timeout=10)
    assert task.cancelled()
    assert incoming_files(root) == []


async def test_a_missing_blob_is_data_loss(blobs: Blobs) -> None:
    key, _ = await keep(blobs)
    await blobs.delete([key])
    with pytest.raises(DataLoss):
        await read(blobs, key)


def path_of(root: Path, key: str) -> Path:
    return root / key[:2] / key[2:]


async def test_a_blob_cut_short_is_data_loss(blobs: Blobs, root: Path) -> None:
    key, _ = await keep(blobs)
    os.truncate(path_of(root, key), 1000)
    with pytest.raises(DataLoss):
        await read(blobs, key, offset=0, length=10)


async def test_a_damaged_blob_is_data_loss_and_its_end_is_withheld(blobs: Blobs, root: Path) -> None:
    content = os.urandom(8 * CHUNK_BYTES)
    key, digest = await keep(blobs, content)
    with path_of(root, key).open("r+b") as file:
        file.seek(3)
        file.write(bytes([content[3] ^ 1]))
    whole = ByteRange(offset=0, length=len(content))
    received = 0
    async with aclosing(blobs.read(key, whole, size_bytes=len(content), sha256=digest.sha256)) as chunks:
        with pytest.raises(DataLoss):  # noqa: PT012 # how much comes before is the point
            async for chunk in chunks:
                received += len(chunk)
    assert received < len(content)


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="needs /proc to count open files")
async def test_a_reader_that_leaves_early_frees_the_file(blobs: Blobs) -> None:
    key, digest = await keep(blobs)
    whole = ByteRange(offset=0, length=digest.size_bytes)
    before = open_files()
    async with aclosing(blobs.read(key, whole, size_bytes=digest.size_bytes, sha256=digest.sha256)) as chunks:
        assert await anext(chunks)
        assert open_files() > before
    async with asyncio.timeout(10):
        while open_files() > before:
            await blobs.size(key)  # a step of the same threads: the reading one's last is then soon done


def open_files() -> int:
    return len(list(OPEN_FILES.iterdir()))


async def test_old_blobs_are_found_part_by_part(blobs: Blobs) -> None:
    key, _ = await keep(blobs)
    future, past = datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC) - timedelta(hours=1)
    found = [await blobs.older_than(future, part=part) for part in range(PARTS)]
    assert [keys for keys in found if keys] == [[key]]
    assert not any([await blobs.older_than(past, part=part) for part in range(PARTS)])


@contextmanager
def files_limited_to(size_bytes: int) -> Iterator[None]:
    """As if the disk were full beyond that size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_is_told_and_leaves_nothing_and_passes(blobs: Blobs, root: Path) -> None:
    with files_limited_to(CHUNK_BYTES + 5), pytest.raises(ResourceExhausted) as refused:
        await keep(blobs)
    assert refused.value.reason == "DISK_FULL"
    assert refused.value.retry_after is not None
    assert incoming_files(root) == []
    key, _ = await keep(blobs)
    assert await read(blobs, key) == CONTENT


async def test_a_start_reclaims_what_a_dead_process_left_and_not_what_lives(blobs: Blobs, root: Path) -> None:
    dead = root / INCOMING / new_id()
    dead.mkdir()
    (dead / "half").write_bytes(b"x" * 1000)
    async with blobs.incoming() as blob:
        await blob.append([CONTENT])
        await blob.finish()
        async with open_local_blobs(root) as other:
            assert not dead.exists()
            assert isinstance(other, LocalBlobs)
            assert await other.reclaim() == 0
        key = await blob.keep()
    assert await read(blobs, key) == CONTENT


async def test_a_sweep_reclaims_too(blobs: Blobs, root: Path) -> None:
    dead = root / INCOMING / new_id()
    dead.mkdir()
    (dead / "half").write_bytes(b"x" * 1000)
    assert await blobs.reclaim() == 1000
    assert not dead.exists()
