"""A file room for tests of its callers: a real gRPC server that keeps files in memory, by token, and can fail."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from comfyfleet.file.v1 import file_pb2, file_pb2_grpc

_CHUNK = 256 * 1024
_Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(kw_only=True)
class SmallFileRoom(file_pb2_grpc.FileServiceServicer):
    """Takes any token that is in `tokens`; equal places are stored once."""

    tokens: set[str] = field(default_factory=lambda: {"token"})
    contents: dict[str, bytes] = field(default_factory=dict)
    records: dict[str, file_pb2.File] = field(default_factory=dict)
    downloads: int = 0
    unavailable: int = 0
    """So many calls are answered UNAVAILABLE."""
    address: str = ""

    def add(self, content: bytes) -> str:
        """Keep an input; its id."""
        file_id = f"input-{len(self.contents)}"
        self.contents[file_id] = content
        return file_id

    def outputs_of(self, run_id: str) -> dict[tuple[str, str, int], bytes]:
        """The stored outputs of a run by node, key and position."""
        return {
            (record.origin.node_id, record.origin.key, record.origin.position): self.contents[file_id]
            for file_id, record in self.records.items()
            if record.origin.run_id == run_id
        }

    async def PutFile(self, request: file_pb2.PutFileRequest, context: _Context) -> file_pb2.PutFileResponse:
        await self._admit(context)
        assert len(request.content) <= _CHUNK
        return file_pb2.PutFileResponse(file=self._store(request.header, request.content))

    async def UploadFile(
        self, request_iterator: AsyncIterator[file_pb2.UploadFileRequest], context: _Context
    ) -> file_pb2.UploadFileResponse:
        await self._admit(context)
        header, content = None, bytearray()
        async for message in request_iterator:
            if message.WhichOneof("part") == "header":
                header = message.header
            else:
                assert len(message.chunk) <= _CHUNK
                content.extend(message.chunk)
        assert header is not None
        return file_pb2.UploadFileResponse(file=self._store(header, bytes(content)))

    async def DownloadFile(
        self, request: file_pb2.DownloadFileRequest, context: _Context
    ) -> AsyncIterator[file_pb2.DownloadFileResponse]:
        await self._admit(context)
        content = self.contents.get(request.file_id)
        if content is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such file")
        assert content is not None
        self.downloads += 1
        yield file_pb2.DownloadFileResponse(header=file_pb2.DownloadHeader(length=len(content)))
        for start in range(0, len(content), _CHUNK):
            yield file_pb2.DownloadFileResponse(chunk=content[start : start + _CHUNK])

    async def _admit(self, context: _Context) -> None:
        if self.unavailable > 0:
            self.unavailable -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
        if metadata.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "another token")

    def _store(self, header: file_pb2.FileHeader, content: bytes) -> file_pb2.File:
        origin = header.origin
        file_id = f"{origin.run_id}/{origin.attempt}/{origin.node_id}/{origin.key}/{origin.position}"
        record = file_pb2.File(
            id=file_id,
            file_name=header.file_name,
            media_type=header.media_type,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            origin=origin,
        )
        if file_id not in self.records:
            self.records[file_id] = record
            self.contents[file_id] = content
        return self.records[file_id]


@asynccontextmanager
async def open_file_room() -> AsyncIterator[SmallFileRoom]:
    """A file room on a free port."""
    server = grpc.aio.server()
    # What dispatchers do not call answers UNIMPLEMENTED, by the generated base.
    room = SmallFileRoom()  # type: ignore[abstract]
    room.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    file_pb2_grpc.add_FileServiceServicer_to_server(room, server)
    await server.start()
    try:
        yield room
    finally:
        await server.stop(None)
