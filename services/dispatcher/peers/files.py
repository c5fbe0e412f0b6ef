"""The file room, as executions use it: with their own token, and nothing else (A14)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
from comfyfleet.file.v1 import file_pb2, file_pb2_grpc

from services.common.errors import DomainError, Unavailable
from services.common.rpc.channel import open_channel
from services.common.rpc.metadata import bearer
from services.common.status import error_of
from services.dispatcher.model.output import OutputHeader, StoredFile

_PUT_SECONDS = 30.0
_IDLE_SECONDS = 60.0
"""A stream in which nothing moves for so long is given up."""

_Upload = grpc.aio.StreamUnaryCall[file_pb2.UploadFileRequest, file_pb2.UploadFileResponse]


class FilePeer:
    """FileService at the address that the run room named last, or at the one configured."""

    def __init__(self, *, address: str, channels: AsyncExitStack) -> None:
        self._configured = address
        self._channels = channels
        self._stubs: dict[str, file_pb2_grpc.FileServiceAsyncStub] = {}
        self._address = address

    async def use(self, endpoint: str) -> None:
        """From now on call this address; empty: the configured one. Channels stay for the life of the process."""
        self._address = endpoint or self._configured
        if self._address not in self._stubs:
            channel = await self._channels.enter_async_context(open_channel(self._address))
            self._stubs[self._address] = file_pb2_grpc.FileServiceStub(channel)

    async def download(self, file_id: str, *, token: str) -> AsyncIterator[bytes]:
        """See Files."""
        call = self._stub().DownloadFile(file_pb2.DownloadFileRequest(file_id=file_id), metadata=bearer(token))
        try:
            while True:
                async with asyncio.timeout(_IDLE_SECONDS):
                    message = await call.read()
                if not isinstance(message, file_pb2.DownloadFileResponse):
                    return
                if message.WhichOneof("part") == "chunk":
                    yield message.chunk
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        finally:
            call.cancel()

    async def put(self, header: OutputHeader, content: bytes, *, token: str) -> StoredFile:
        """See Files."""
        request = file_pb2.PutFileRequest(header=_header(header, size=len(content)), content=content)
        try:
            answer = await self._stub().PutFile(request, metadata=bearer(token), timeout=_PUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        return _stored(answer.file)

    async def upload(self, header: OutputHeader, content: AsyncIterator[bytes], *, token: str) -> StoredFile:
        """See Files. A failure of `content` is raised as it is, and the call is cancelled: half a file is none."""
        call = self._stub().UploadFile(metadata=bearer(token))
        try:
            await self._write(call, file_pb2.UploadFileRequest(header=_header(header, size=None)))
            async for piece in content:
                await self._write(call, file_pb2.UploadFileRequest(chunk=piece))
            async with asyncio.timeout(_IDLE_SECONDS):
                await call.done_writing()
                answer = await call
        except asyncio.InvalidStateError as error:
            # The room answered before the end: its answer says why.
            raise await _early(call) from error
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        finally:
            call.cancel()
        return _stored(answer.file)

    async def _write(self, call: _Upload, message: file_pb2.UploadFileRequest) -> None:
        async with asyncio.timeout(_IDLE_SECONDS):
            await call.write(message)

    def _stub(self) -> "file_pb2_grpc.FileServiceAsyncStub":
        return self._stubs[self._address]


async def _early(call: _Upload) -> DomainError:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error_of(error)
    return Unavailable("The file room answered before the upload's end.", reason="UPLOAD_CUT")


def _header(header: OutputHeader, *, size: int | None) -> file_pb2.FileHeader:
    made = file_pb2.FileHeader(
        file_name=header.file_name,
        media_type=header.media_type,
        origin=file_pb2.FileOrigin(
            run_id=header.run_id,
            attempt=header.attempt,
            node_id=header.place.node_id,
            key=header.place.key,
            position=header.place.position,
        ),
    )
    if size is not None:
        made.size_bytes = size
    return made


def _stored(file: file_pb2.File) -> StoredFile:
    return StoredFile(file_id=file.id, sha256=file.sha256, size_bytes=file.size_bytes, media_type=file.media_type)
