"""Files to and from an installation, streamed in chunks."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
from comfyfleet.file.v1 import file_pb2, file_pb2_grpc

from services.cli.connection import Connection
from services.common.ids import new_id

CHUNK_BYTES = 256 * 1024


async def upload(
    channel: grpc.aio.Channel, connection: Connection, path: Path, *, provisional: bool = False
) -> file_pb2.File:
    """Stores a local file and returns its record.

    Raises:
        OSError: It cannot be read.
        grpc.aio.AioRpcError: It was refused.
    """
    header = file_pb2.FileHeader(
        file_name=path.name, size_bytes=path.stat().st_size, provisional=provisional, request_id=new_id()
    )

    async def parts() -> AsyncIterator[file_pb2.UploadFileRequest]:
        yield file_pb2.UploadFileRequest(header=header)
        with path.open("rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                yield file_pb2.UploadFileRequest(chunk=chunk)

    answer = await file_pb2_grpc.FileServiceStub(channel).UploadFile(parts(), metadata=connection.metadata)
    return answer.file


async def download(channel: grpc.aio.Channel, connection: Connection, file_id: str, target: Path) -> int:
    """Writes a stored file to `target`, which appears whole or not at all, and returns its bytes.

    Raises:
        OSError: It cannot be written.
        grpc.aio.AioRpcError: There is no such file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    stub = file_pb2_grpc.FileServiceStub(channel)
    request = file_pb2.DownloadFileRequest(file_id=file_id)
    written = 0
    with partial.open("wb") as sink:
        async for part in stub.DownloadFile(request, metadata=connection.metadata):
            if part.WhichOneof("part") == "chunk":
                written += sink.write(part.chunk)
    partial.replace(target)
    return written
