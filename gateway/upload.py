"""Sends one file's bytes to the file room as they arrive."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

import grpc
from comfyfleet.file.v1 import file_pb2

from gateway import request_stream
from gateway.caller import Metadata
from gateway.problems import HttpError, problem_of
from gateway.rooms import Rooms

CHUNK_BYTES = 256 * 1024
MAX_PIECES = 64
"""A client that sends byte by byte must not make us keep an object for each."""
STALL = 60.0
"""Seconds that the file room may take for one chunk, or for its answer."""
SPOIL_TIMEOUT = 1.0
"""Seconds for spoiling an upload that is given up."""

_FULL_CHUNK = file_pb2.UploadFileRequest(chunk=bytes(CHUNK_BYTES)).SerializeToString()[:-CHUNK_BYTES]
"""How the message of a full chunk begins: put before the pieces, it saves copying them three times."""


class Upload:
    """One file on its way: `write` as bytes come, then `finish`; leaving the block without it stores nothing.

    Up to `CHUNK_BYTES` are held back: a file that ends within them goes up in one message, a larger one as a stream
    of full chunks. Errors are those of the file room (OUT_OF_RANGE as HttpError 413).
    """

    def __init__(self, header: file_pb2.FileHeader, *, rooms: Rooms, metadata: Metadata) -> None:
        self._header = header
        self._rooms = rooms
        self._metadata = metadata
        self._pieces: list[bytes | memoryview] = []
        self._held = 0
        self._call: grpc.aio.StreamUnaryCall[file_pb2.UploadFileRequest, file_pb2.UploadFileResponse] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._call is None:
            return
        if not self._call.done():
            # A cut stream may look complete to the room for a moment; a second header is refused whenever it comes.
            with suppress(TimeoutError):
                async with asyncio.timeout(SPOIL_TIMEOUT):
                    await request_stream.send(self._call, self._first_message())
        self._call.cancel()  # nothing happens when it is done

    async def write(self, data: bytes) -> None:
        """Take the next bytes; waits while the file room is slower than the client."""
        view = memoryview(data)
        while self._held + len(view) > CHUNK_BYTES:
            room = CHUNK_BYTES - self._held
            await self._send(b"".join((_FULL_CHUNK, *self._pieces, view[:room])))
            self._pieces, self._held, view = [], 0, view[room:]
        self._pieces.append(view)
        self._held += len(view)
        if len(self._pieces) >= MAX_PIECES:
            self._pieces = [b"".join(self._pieces)]

    async def finish(self) -> file_pb2.File:
        """The record, once the bytes are durable."""
        try:
            if self._call is None:
                request = file_pb2.PutFileRequest(header=self._header, content=b"".join(self._pieces))
                put = await self._rooms.files.PutFile(request, metadata=self._metadata, timeout=STALL)
                return put.file
            if self._held:
                last = file_pb2.UploadFileRequest(chunk=b"".join(self._pieces))
                await self._send(last.SerializeToString())
            async with asyncio.timeout(STALL):
                await request_stream.close(self._call)
                return (await self._call).file
        except grpc.aio.AioRpcError as error:
            raise self._refusal(error) from error

    async def _send(self, message: bytes) -> None:
        if self._call is None:
            self._call = self._rooms.files.UploadFile(metadata=self._metadata)
            await self._send(self._first_message())
        async with asyncio.timeout(STALL):
            sent = await request_stream.send(self._call, message)
        if not sent:
            # The room has answered already, with a refusal: that is what the client is told.
            await self._raise_answer(self._call)

    def _first_message(self) -> bytes:
        return file_pb2.UploadFileRequest(header=self._header).SerializeToString()

    async def _raise_answer(
        self, call: grpc.aio.StreamUnaryCall[file_pb2.UploadFileRequest, file_pb2.UploadFileResponse]
    ) -> None:
        try:
            async with asyncio.timeout(STALL):
                await call
        except grpc.aio.AioRpcError as error:
            raise self._refusal(error) from error
        raise HttpError(400, "The upload ended before its last byte.", reason="UPLOAD_ENDED")

    @staticmethod
    def _refusal(error: grpc.aio.AioRpcError) -> Exception:
        if error.code() is grpc.StatusCode.OUT_OF_RANGE:
            problem = problem_of(error, out_of_range=413)
            return HttpError(413, problem.detail, reason=problem.reason)
        return error
