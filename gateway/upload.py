"""Sends one file's bytes to the file room as they arrive."""

import asyncio
from types import TracebackType
from typing import Self

import grpc
from comfyfleet.file.v1 import file_pb2

from gateway import request_stream
from gateway.caller import Metadata
from gateway.problems import HttpError, problem_of
from gateway.rooms import Rooms

CHUNK_BYTES = 256 * 1024
STALL = 60.0
"""Seconds that the file room may take for one chunk, or for its answer."""


class Upload:
    """One file on its way: `write` as bytes come, then `finish`; leaving the block without it stores nothing.

    Up to `CHUNK_BYTES` are held back: a file that ends within them goes up in one message, a larger one as a stream
    of full chunks. Errors are those of the file room (OUT_OF_RANGE as HttpError 413).
    """

    def __init__(self, header: file_pb2.FileHeader, *, rooms: Rooms, metadata: Metadata) -> None:
        self._header = header
        self._rooms = rooms
        self._metadata = metadata
        self._held = bytearray()
        self._call: grpc.aio.StreamUnaryCall[file_pb2.UploadFileRequest, file_pb2.UploadFileResponse] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._call is not None:
            self._call.cancel()  # nothing happens when it is done

    async def write(self, data: bytes) -> None:
        """Take the next bytes; waits while the file room is slower than the client."""
        self._held += data
        if len(self._held) <= CHUNK_BYTES:
            return
        view = bytes(self._held)
        whole = len(view) - len(view) % CHUNK_BYTES
        for start in range(0, whole, CHUNK_BYTES):
            await self._send(file_pb2.UploadFileRequest(chunk=view[start : start + CHUNK_BYTES]))
        self._held = bytearray(view[whole:])

    async def finish(self) -> file_pb2.File:
        """The record, once the bytes are durable."""
        try:
            if self._call is None:
                request = file_pb2.PutFileRequest(header=self._header, content=bytes(self._held))
                put = await self._rooms.files.PutFile(request, metadata=self._metadata, timeout=STALL)
                return put.file
            if self._held:
                await self._send(file_pb2.UploadFileRequest(chunk=bytes(self._held)))
            async with asyncio.timeout(STALL):
                await request_stream.close(self._call)
                return (await self._call).file
        except grpc.aio.AioRpcError as error:
            raise self._refusal(error) from error

    async def _send(self, request: file_pb2.UploadFileRequest) -> None:
        if self._call is None:
            self._call = self._rooms.files.UploadFile(metadata=self._metadata)
            await self._send(file_pb2.UploadFileRequest(header=self._header))
        async with asyncio.timeout(STALL):
            sent = await request_stream.send(self._call, request.SerializeToString())
        if not sent:
            # The room has answered already, with a refusal: that is what the client is told.
            await self._raise_answer(self._call)

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
