"""A file's bytes as an HTTP answer: ranges, entity tags, and nothing active ever shown inside a page."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import grpc
import structlog
from comfyfleet.file.v1 import file_pb2
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.caller import Metadata, caller_of
from gateway.presence import leaving
from gateway.problems import HttpError, problem_of
from gateway.ranges import ByteRange, Unsatisfiable, matches, range_of
from gateway.rooms import Rooms

DOWNLOAD_BROKEN = "download_broken"

_SAFE_INLINE = re.compile(r"(?:image/(?!svg)[\w.+-]+|audio/[\w.+-]+|video/[\w.+-]+|text/plain|application/json)")
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:\s*;[\x20-\x7e]*)?")
_UNSAFE_NAME = re.compile(r"[^A-Za-z0-9._ -]")
_GET_TIMEOUT = 30.0
WHOLE_BYTES = 256 * 1024
"""Files up to this size are answered in one piece, whatever goes wrong with them as a problem."""

_log = structlog.get_logger()

DownloadCall = grpc.aio.UnaryStreamCall[Any, file_pb2.DownloadFileResponse]


class Downloads:
    """Answers with the bytes of files."""

    def __init__(self, *, rooms: Rooms, send_timeout: float) -> None:
        self._rooms = rooms
        self._send_timeout = send_timeout

    async def answer(self, request: Request, file_id: str) -> Response:
        """The file, the range of it, or word that the client has it already."""
        metadata = caller_of(request).metadata
        async with asyncio.timeout(_GET_TIMEOUT):
            if request.method == "HEAD" or "range" in request.headers:
                return await self._of_record(request, await self._record(file_id, metadata), metadata)
            call, header = await self._begin(file_id, None, metadata)
            if matches(request.headers.get("if-none-match"), header.file.sha256):
                call.cancel()
                return Response(status_code=304, headers=_headers(header.file))
            return await self._body(call, header, status=200, extra={})

    async def _of_record(self, request: Request, file: file_pb2.File, metadata: Metadata) -> Response:
        if matches(request.headers.get("if-none-match"), file.sha256):
            return Response(status_code=304, headers=_headers(file))
        if request.method == "HEAD":
            return Response(headers={**_headers(file), "content-length": str(file.size_bytes)})
        condition = request.headers.get("if-range")
        asked = None if condition is not None and condition.strip() != f'"{file.sha256}"' else request.headers["range"]
        try:
            wanted = range_of(asked, file.size_bytes)
        except Unsatisfiable:
            headers = (("content-range", f"bytes */{file.size_bytes}"),)
            raise HttpError(416, "The range lies beyond the end.", reason="RANGE", headers=headers) from None
        call, header = await self._begin(file.id, wanted, metadata)
        if wanted is None:
            return await self._body(call, header, status=200, extra={})
        return await self._body(
            call, header, status=206, extra={"content-range": wanted.content_range(file.size_bytes)}
        )

    async def _record(self, file_id: str, metadata: Metadata) -> file_pb2.File:
        asked = file_pb2.GetFileRequest(file_id=file_id)
        return (await self._rooms.files.GetFile(asked, metadata=metadata)).file

    async def _begin(
        self, file_id: str, wanted: ByteRange | None, metadata: Metadata
    ) -> tuple[DownloadCall, file_pb2.DownloadHeader]:
        asked = file_pb2.DownloadFileRequest(file_id=file_id)
        if wanted is not None:
            asked.offset, asked.length = wanted.offset, wanted.length
        call = self._rooms.files.DownloadFile(asked, metadata=metadata)
        try:
            first = await call.read()
            if not isinstance(first, file_pb2.DownloadFileResponse) or not first.HasField("header"):
                raise HttpError(503, "The file room ended the download.", reason="DOWNLOAD_ENDED")
        except BaseException:
            call.cancel()
            raise
        return call, first.header

    async def _body(
        self, call: DownloadCall, header: file_pb2.DownloadHeader, *, status: int, extra: Mapping[str, str]
    ) -> Response:
        headers = {**_headers(header.file), "content-length": str(header.length), **extra}
        if header.length <= WHOLE_BYTES:
            return Response(await _whole(call, header.length), status_code=status, headers=headers)
        return _FileBody(call, status=status, headers=headers, send_timeout=self._send_timeout)


class _FileBody(Response):
    """Passes chunks on as the client takes them; ends unfinished when the room breaks off, so that it is noticed."""

    def __init__(self, call: DownloadCall, *, status: int, headers: dict[str, str], send_timeout: float) -> None:
        super().__init__(status_code=status, headers=headers)
        self._call = call
        self._send_timeout = send_timeout

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            with leaving(receive) as end:
                end.add_done_callback(lambda _: self._call.cancel())
                while (chunk := await _next_chunk(self._call)) is not None:
                    async with asyncio.timeout(self._send_timeout):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (TimeoutError, grpc.aio.AioRpcError) as error:
            _log.warning(DOWNLOAD_BROKEN, reason=problem_of(error).reason)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise  # we are stopping; otherwise the call was cancelled because the client has gone
        finally:
            self._call.cancel()


def _headers(file: file_pb2.File) -> dict[str, str]:
    media_type = file.media_type if _MEDIA_TYPE.fullmatch(file.media_type) else "application/octet-stream"
    kind = media_type.partition(";")[0].strip().lower()
    disposition = "inline" if _SAFE_INLINE.fullmatch(kind) else "attachment"
    if kind == "text/plain" and ";" not in media_type:
        media_type = "text/plain; charset=utf-8"
    return {
        "content-type": media_type,
        "content-disposition": f"{disposition}; {_file_name(file.file_name)}",
        "etag": f'"{file.sha256}"',
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox",
    }


def _file_name(name: str) -> str:
    """RFC 6266: an ASCII form for old clients, the real name for the others."""
    plain = _UNSAFE_NAME.sub("_", name) or "file"
    return f"filename=\"{plain}\"; filename*=UTF-8''{quote(name or 'file', safe='')}"


async def _whole(call: DownloadCall, length: int) -> bytes:
    """All of a small file, once the room has said that nothing is wrong with it."""
    try:
        chunks: list[bytes] = []
        while (chunk := await _next_chunk(call)) is not None:
            chunks.append(chunk)
    except BaseException:
        call.cancel()
        raise
    content = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if len(content) != length:
        raise HttpError(503, "The file room ended the download.", reason="DOWNLOAD_ENDED")
    return content


async def _next_chunk(call: DownloadCall) -> bytes | None:
    """The next bytes; None at the end, AioRpcError where the room broke off."""
    message = await call.read()
    return message.chunk if isinstance(message, file_pb2.DownloadFileResponse) else None
