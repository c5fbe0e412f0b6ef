"""SIGKILL of the file room in the middle of uploads."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from comfyfleet.file.v1 import file_pb2, file_pb2_grpc
from grpc.aio import AioRpcError

from services.common.rpc.channel import open_channel
from services.file.model.file import CHUNK_BYTES
from tests.rpc.file_rig import ALICE, DEADLINE, open_file_rig, until, upload_requests

ROOT = Path(__file__).parents[2]
UPLOADS = 10
CONTENT = os.urandom(4 * 1024 * 1024)


@asynccontextmanager
async def file_process(state: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A file room of its own process, and its address."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "proto" / "gen")])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.rpc.file_process", str(state),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), DEADLINE)
        yield process, line.decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def content_of(number: int) -> bytes:
    return number.to_bytes(4) + CONTENT


@pytest.mark.timeout(120)
async def test_a_kill_during_uploads_loses_nothing_acknowledged_and_leaves_nothing_else(tmp_path: Path) -> None:
    acknowledged: dict[int, file_pb2.File] = {}
    halfway = asyncio.Semaphore(0)

    async with file_process(tmp_path) as (process, address), open_channel(address) as channel:
        stub: file_pb2_grpc.FileServiceAsyncStub = file_pb2_grpc.FileServiceStub(channel)

        async def upload(number: int) -> None:
            async def requests() -> AsyncIterator[file_pb2.UploadFileRequest]:
                sent = 0
                async for request in upload_requests(content_of(number), file_name=str(number)):
                    yield request
                    sent += 1
                    if number >= UPLOADS // 2 and sent > len(CONTENT) // CHUNK_BYTES // 2:
                        halfway.release()
                        await asyncio.Event().wait()

            answer = await stub.UploadFile(requests(), metadata=ALICE, timeout=DEADLINE)
            acknowledged[number] = answer.file

        tasks = [asyncio.create_task(upload(number)) for number in range(UPLOADS)]
        for _ in range(UPLOADS // 2, UPLOADS):
            await asyncio.wait_for(halfway.acquire(), DEADLINE)
        temporary = tmp_path / "file" / "blobs" / "incoming"
        await until(lambda: len(list(temporary.glob("*/*-*"))) >= UPLOADS // 2 and acknowledged)
        process.send_signal(signal.SIGKILL)
        outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), DEADLINE)
    assert all(outcome is None or isinstance(outcome, AioRpcError) for outcome in outcomes)
    assert set(acknowledged) <= set(range(UPLOADS // 2))
    assert list(temporary.glob("*/*-*"))

    async with open_file_rig(tmp_path) as rig:
        assert rig.incoming_paths() == []
        for number, file in acknowledged.items():
            assert (await rig.download(file.id))[1] == content_of(number)
        page = await rig.stub.ListFiles(file_pb2.ListFilesRequest(), metadata=ALICE, timeout=DEADLINE)
        assert {int(file.file_name) for file in page.files} <= set(range(UPLOADS // 2))
