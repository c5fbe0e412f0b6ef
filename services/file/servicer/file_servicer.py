"""FileService."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from comfyfleet.file.v1 import file_pb2, file_pb2_grpc

from services.common.errors import InvalidArgument, Violation
from services.common.rpc.metadata import current_request_id
from services.common.rpc.principal import current_principal
from services.common.rpc.rule import scoped, scoped_or_granted, service_only, service_rules
from services.file.model.access import Access
from services.file.model.file import CHUNK_BYTES
from services.file.service.deleting import Deleting
from services.file.service.reading import Reading
from services.file.service.run_files import RunFiles
from services.file.service.storing import Storing
from services.file.servicer.converters import (
    file_to_proto,
    new_file_from_proto,
    query_from_proto,
    violation_to_proto,
    wanted_from_proto,
)

RULES = service_rules(
    "comfyfleet.file.v1.FileService",
    {
        "PutFile": scoped_or_granted("files:write"),
        "UploadFile": scoped_or_granted("files:write"),
        "DownloadFile": scoped_or_granted("files:read"),
        "GetFile": scoped_or_granted("files:read"),
        "ListFiles": scoped("files:read"),
        "DeleteFile": scoped("files:write"),
        "BindFiles": service_only(),
        "ImportFile": scoped("files:write"),
    },
)

_Context = grpc.aio.ServicerContext[Any, Any]


class FileServicer(file_pb2_grpc.FileServiceServicer):
    """Turns messages into calls of the services, for the caller's team."""

    def __init__(self, *, storing: Storing, reading: Reading, deleting: Deleting, run_files: RunFiles) -> None:
        self._storing = storing
        self._reading = reading
        self._deleting = deleting
        self._run_files = run_files

    async def PutFile(self, request: file_pb2.PutFileRequest, _context: _Context) -> file_pb2.PutFileResponse:
        file = await self._storing.put(_access(), new_file_from_proto(request.header), request.content)
        return file_pb2.PutFileResponse(file=file_to_proto(file))

    async def UploadFile(
        self, request_iterator: AsyncIterator[file_pb2.UploadFileRequest], _context: _Context
    ) -> file_pb2.UploadFileResponse:
        access = _access()
        first = await anext(request_iterator, None)
        if first is None or first.WhichOneof("part") != "header":
            raise _bad_part("HEADER_MISSING", "Send the header first, then the chunks.")
        new = new_file_from_proto(first.header)
        file = await self._storing.upload(access, new, _chunks(request_iterator))
        return file_pb2.UploadFileResponse(file=file_to_proto(file))

    async def DownloadFile(
        self, request: file_pb2.DownloadFileRequest, _context: _Context
    ) -> AsyncIterator[file_pb2.DownloadFileResponse]:
        download = await self._reading.download(
            _access(), request.file_id, offset=request.offset, length=request.length
        )
        wanted = download.byte_range
        header = file_pb2.DownloadHeader(file=file_to_proto(download.file), offset=wanted.offset, length=wanted.length)
        async with aclosing(download.chunks) as chunks:
            yield file_pb2.DownloadFileResponse(header=header)
            async for chunk in chunks:
                yield file_pb2.DownloadFileResponse(chunk=chunk)

    async def GetFile(self, request: file_pb2.GetFileRequest, _context: _Context) -> file_pb2.GetFileResponse:
        return file_pb2.GetFileResponse(file=file_to_proto(await self._reading.get(_access(), request.file_id)))

    async def ListFiles(self, request: file_pb2.ListFilesRequest, _context: _Context) -> file_pb2.ListFilesResponse:
        page = await self._reading.list(_access(), query_from_proto(request))
        return file_pb2.ListFilesResponse(
            files=[file_to_proto(file) for file in page.rows], next_page_token=page.next_page_token
        )

    async def DeleteFile(self, request: file_pb2.DeleteFileRequest, _context: _Context) -> file_pb2.DeleteFileResponse:
        await self._deleting.delete(_access(), request.file_id)
        return file_pb2.DeleteFileResponse()

    async def BindFiles(self, request: file_pb2.BindFilesRequest, _context: _Context) -> file_pb2.BindFilesResponse:
        bound = await self._run_files.bind(
            _access(),
            request.run_id,
            [wanted_from_proto(binding) for binding in request.files],
            delete_at_end=request.delete_at_end,
        )
        return file_pb2.BindFilesResponse(
            files=[file_to_proto(file) for file in bound.files],
            violations=[violation_to_proto(violation) for violation in bound.violations],
        )

    async def ImportFile(self, request: file_pb2.ImportFileRequest, _context: _Context) -> file_pb2.ImportFileResponse:
        new = new_file_from_proto(request.header)
        file = await self._storing.import_uri(_access(), new, request.uri)
        return file_pb2.ImportFileResponse(file=file_to_proto(file))


def _access() -> Access:
    principal = current_principal()
    return Access(team_id=principal.team(), grant=principal.grant, request_id=current_request_id())


async def _chunks(requests: AsyncIterator[file_pb2.UploadFileRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if request.WhichOneof("part") != "chunk":
            raise _bad_part("HEADER_REPEATED", "Send one header, and only chunks after it.")
        chunk = request.chunk
        if len(chunk) > CHUNK_BYTES:
            raise _bad_part("CHUNK_TOO_LONG", f"Send chunks of at most {CHUNK_BYTES} bytes.")
        yield chunk


def _bad_part(reason: str, message: str) -> InvalidArgument:
    return InvalidArgument(violations=[Violation("part", reason, message)])
