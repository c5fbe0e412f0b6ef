"""`/v1/files` and the outputs of runs: upload, list, read and delete files."""

from urllib.parse import unquote

from comfyfleet.file.v1 import file_pb2
from comfyfleet.run.v1 import run_service_pb2
from fastapi import APIRouter, Request
from multipart import MultipartSegment, parse_options_header
from starlette.responses import Response

from gateway.body import Body, read_object
from gateway.caller import caller_of
from gateway.download import Downloads
from gateway.fields import INT64, Fields
from gateway.hot_routes import HotRoute
from gateway.json_answer import answer
from gateway.links import file_url
from gateway.multipart_form import form_events, is_form
from gateway.openapi import file_pages as pages
from gateway.problems import ClientGone, HttpError
from gateway.query import Query, idempotency_key, one_request_id, page
from gateway.rest.file_json import file_json
from gateway.rest.runs import CALL_TIMEOUT, next_page
from gateway.rooms import Rooms
from gateway.upload import Upload
from services.common.errors import InvalidArgument, NotFound, Violation

_NO_TYPE = ("application/x-www-form-urlencoded", "application/octet-stream")
_ONE_FILE = "Send exactly one part, with a file name."


class FileRoutes:
    """The routes of files."""

    def __init__(self, *, rooms: Rooms, downloads: Downloads, upload_limit: int) -> None:
        self._rooms = rooms
        self._downloads = downloads
        self._upload_limit = upload_limit

    def router(self) -> APIRouter:
        """The routes."""
        made = APIRouter(tags=["Files"])
        made.get("/v1/files/{file_id}/content", **pages.CONTENT)(self.content)
        made.head("/v1/files/{file_id}/content", include_in_schema=False)(self.content)
        made.get("/v1/runs/{run_id}/outputs/{name}", **pages.OUTPUT)(self.output)
        made.head("/v1/runs/{run_id}/outputs/{name}", include_in_schema=False)(self.output)
        made.post("/v1/files", **pages.UPLOAD)(self.upload)
        made.post("/v1/files:import", **pages.IMPORT)(self.import_uri)
        made.get("/v1/files", **pages.LIST)(self.list)
        made.get("/v1/files/{file_id}", **pages.GET)(self.get)
        made.delete("/v1/files/{file_id}", **pages.DELETE)(self.delete)
        return made

    def hot_routes(self) -> list[HotRoute]:
        """Those of them that every run takes."""
        return [HotRoute(method="GET", path="/v1/files/{file_id}/content", answer=self.content)]

    async def upload(self, request: Request) -> Response:
        """Store the body, or the one file of a form."""
        caller, query = caller_of(request), Query(request)
        header = file_pb2.FileHeader(
            file_name=query.text("file_name") or "",
            media_type=query.text("media_type") or "",
            sha256=query.text("sha256") or "",
            provisional=query.flag("provisional") or False,
            request_id=idempotency_key(request),
        )
        query.done()
        if is_form(request):
            stored = await self._store_form(request, header)
        else:
            stored = await self._store_raw(request, header)
        return answer(
            file_json(stored, base=caller.url), status=201, headers={"location": file_url(caller.url, stored.id)}
        )

    async def import_uri(self, request: Request) -> Response:
        """Store the bytes of a `data:` URI."""
        caller = caller_of(request)
        fields = Fields(await read_object(request))
        header = file_pb2.FileHeader(
            file_name=fields.text("file_name") or "",
            media_type=fields.text("media_type") or "",
            sha256=fields.text("sha256") or "",
            request_id=one_request_id(fields, idempotency_key(request)),
        )
        if (size := fields.integer("size_bytes", (0, INT64[1]))) is not None:
            header.size_bytes = size
        asked = file_pb2.ImportFileRequest(uri=fields.text("uri") or "", header=header)
        if not asked.uri:
            fields.refuse("uri", "REQUIRED", "Send a `data:` URI.")
        fields.done()
        got = await self._rooms.files.ImportFile(asked, metadata=caller.metadata, timeout=CALL_TIMEOUT)
        headers = {"location": file_url(caller.url, got.file.id)}
        return answer(file_json(got.file, base=caller.url), status=201, headers=headers)

    async def list(self, request: Request) -> Response:
        """Show a page of the team's files."""
        caller, query = caller_of(request), Query(request)
        size, token = page(query)
        asked = file_pb2.ListFilesRequest(
            page_size=size,
            page_token=token,
            filter=query.text("filter") or "",
            order_by=query.text("order_by") or "",
        )
        query.done()
        got = await self._rooms.files.ListFiles(asked, metadata=caller.metadata, timeout=CALL_TIMEOUT)
        body = {
            "files": [file_json(file, base=caller.url) for file in got.files],
            "next_page_token": got.next_page_token or None,
        }
        return answer(body, headers=next_page(request, caller, got.next_page_token))

    async def get(self, request: Request) -> Response:
        """Show a file's record."""
        caller = caller_of(request)
        asked = file_pb2.GetFileRequest(file_id=request.path_params["file_id"])
        got = await self._rooms.files.GetFile(asked, metadata=caller.metadata, timeout=CALL_TIMEOUT)
        return answer(file_json(got.file, base=caller.url))

    async def delete(self, request: Request) -> Response:
        """Delete a file."""
        asked = file_pb2.DeleteFileRequest(file_id=request.path_params["file_id"])
        await self._rooms.files.DeleteFile(asked, metadata=caller_of(request).metadata, timeout=CALL_TIMEOUT)
        return Response(status_code=204)

    async def content(self, request: Request) -> Response:
        """Send a file's bytes."""
        return await self._downloads.answer(request, request.path_params["file_id"])

    async def output(self, request: Request) -> Response:
        """Send the bytes of one output of a run, by its name or its ordinal."""
        asked = run_service_pb2.GetRunRequest(run_id=request.path_params["run_id"])
        got = await self._rooms.runs.GetRun(asked, metadata=caller_of(request).metadata, timeout=CALL_TIMEOUT)
        name: str = request.path_params["name"]
        outputs = [*got.run.outputs, *got.run.partial_outputs]
        named = [output for output in outputs if output.name == name]
        found = named or [output for output in outputs if str(output.ordinal) == name]
        if not found:
            raise NotFound("The run has no output of that name; its record lists them.", reason="OUTPUT_NOT_FOUND")
        return await self._downloads.answer(request, found[0].file_id)

    async def _store_raw(self, request: Request, header: file_pb2.FileHeader) -> file_pb2.File:
        body = Body(request, limit=self._upload_limit)
        if body.content_length is not None:
            header.size_bytes = body.content_length
        kind = request.headers.get("content-type", "")
        if not header.media_type and kind.partition(";")[0].strip().lower() not in _NO_TYPE:
            header.media_type = kind
        header.file_name = header.file_name or _name_in(request)
        try:
            async with Upload(header, rooms=self._rooms, metadata=caller_of(request).metadata) as upload:
                async for chunk in body:
                    await upload.write(chunk)
                return await upload.finish()
        except ClientGone:
            raise HttpError(400, "The connection closed before the end of the body.", reason="BODY_TRUNCATED") from None

    async def _store_form(self, request: Request, header: file_pb2.FileHeader) -> file_pb2.File:
        metadata, stored = caller_of(request).metadata, None
        events = form_events(request, Body(request, limit=self._upload_limit))
        try:
            async for part in events:
                if not isinstance(part, MultipartSegment) or not part.filename or stored is not None:
                    raise InvalidArgument(violations=[Violation("body", "NOT_ONE_FILE", _ONE_FILE)])
                header.file_name = header.file_name or part.filename
                header.media_type = header.media_type or part.content_type or ""
                async with Upload(header, rooms=self._rooms, metadata=metadata) as upload:
                    async for event in events:
                        if event is None:
                            break
                        assert isinstance(event, bytes)
                        await upload.write(event)
                    stored = await upload.finish()
        except BaseException:
            if stored is not None:  # what followed it was wrong
                await self._rooms.files.DeleteFile(
                    file_pb2.DeleteFileRequest(file_id=stored.id), metadata=metadata, timeout=CALL_TIMEOUT
                )
            raise
        if stored is None:
            raise InvalidArgument(violations=[Violation("body", "NOT_ONE_FILE", _ONE_FILE)])
        return stored


def _name_in(request: Request) -> str:
    """The file name of a `Content-Disposition` header; empty where there is none."""
    _, options = parse_options_header(request.headers.get("content-disposition", ""))
    extended = options.get("filename*", "")
    if extended.lower().startswith("utf-8''"):
        return unquote(extended[7:])
    return str(options.get("filename", ""))
