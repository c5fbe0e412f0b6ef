"""A run as a form: text parts are parameters, file parts go to the file room as they arrive, `_run` has the rest."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc
import structlog
from comfyfleet.file.v1 import file_pb2
from comfyfleet.run.v1 import run_service_pb2
from multipart import MultipartSegment
from starlette.requests import Request

from gateway.body import MAX_JSON_BYTES, Body, json_of, object_of
from gateway.caller import Caller, Metadata
from gateway.multipart_form import Event, form_events
from gateway.problems import HttpError
from gateway.rest.run_request import run_request
from gateway.rooms import Rooms
from gateway.upload import Upload
from services.common.errors import InvalidArgument, Violation

RUN_PART = "_run"
PROVISIONAL_LEFT = "provisional_file_left"

_DELETE_TIMEOUT = 10.0

_log = structlog.get_logger()


@dataclass(kw_only=True)
class Form:
    """What a form held. Text stays within `MAX_JSON_BYTES` for all parts together."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    """Values by parameter, file ids among them, in the order of the parts."""
    run: bytes | None = None
    text_bytes: int = 0


class ProvisionalFiles:
    """The files that one request has stored and that are nobody's input yet."""

    def __init__(self, *, rooms: Rooms, metadata: Metadata) -> None:
        self._rooms = rooms
        self._metadata = metadata
        self._ids: list[str] = []

    def add(self, file: file_pb2.File) -> None:
        """Remember `file`; one that is no longer provisional belongs to the run of an earlier, equal request."""
        if file.provisional:
            self._ids.append(file.id)

    async def delete(self) -> None:
        """Delete them all. What cannot be deleted now goes with the sweep of provisional files."""
        for file_id in self._ids:
            request = file_pb2.DeleteFileRequest(file_id=file_id)
            try:
                await self._rooms.files.DeleteFile(request, metadata=self._metadata, timeout=_DELETE_TIMEOUT)
            except grpc.aio.AioRpcError as error:
                _log.info(PROVISIONAL_LEFT, file_id=file_id, code=error.code().name)
        self._ids.clear()


async def read_run_form(
    request: Request,
    *,
    caller: Caller,
    rooms: Rooms,
    files: ProvisionalFiles,
    limit: int,
    workflow: str | None,
    key: str,
) -> run_service_pb2.CreateRunRequest:
    """The run that a form asks for, its files stored. The caller deletes `files` when anything goes wrong."""
    form = Form()
    events = form_events(request, Body(request, limit=limit))
    async for event in events:
        assert isinstance(event, MultipartSegment)
        if event.filename:
            await _store_file(event, events, form, caller=caller, rooms=rooms, files=files, key=key)
        else:
            await _keep_text(event, events, form)
    return _request_of(form, workflow=workflow, key=key, base=caller.url)


async def _store_file(
    part: MultipartSegment,
    events: AsyncIterator[Event],
    form: Form,
    *,
    caller: Caller,
    rooms: Rooms,
    files: ProvisionalFiles,
    key: str,
) -> None:
    name = _name_of(part)
    values = form.texts.setdefault(name, [])
    header = file_pb2.FileHeader(
        file_name=part.filename or "",
        media_type=part.content_type or "",
        provisional=True,
        request_id=_file_request_id(key, name, len(values)),
    )
    async with Upload(header, rooms=rooms, metadata=caller.metadata) as upload:
        async for event in events:
            if event is None:
                break
            assert isinstance(event, bytes)
            await upload.write(event)
        stored = await upload.finish()
    files.add(stored)
    values.append(stored.id)


async def _keep_text(part: MultipartSegment, events: AsyncIterator[Event], form: Form) -> None:
    name = _name_of(part)
    pieces: list[bytes] = []
    async for event in events:
        if event is None:
            break
        assert isinstance(event, bytes)
        form.text_bytes += len(event)
        if form.text_bytes > MAX_JSON_BYTES:
            raise HttpError(413, f"The text parts have more than {MAX_JSON_BYTES} bytes.", reason="BODY_TOO_LARGE")
        pieces.append(event)
    data = b"".join(pieces)
    if part.filename is not None and not data:
        return  # a browser's file input in which nothing was chosen
    if name == RUN_PART:
        if form.run is not None:
            raise InvalidArgument(violations=[Violation(RUN_PART, "REPEATED", "Send this part once.")])
        form.run = data
        return
    form.texts.setdefault(name, []).append(_text_of(data, name))


def _request_of(form: Form, *, workflow: str | None, key: str, base: str) -> run_service_pb2.CreateRunRequest:
    body = object_of(json_of(form.run, field=RUN_PART), field=RUN_PART) if form.run is not None else {}
    made = run_request(body, workflow=workflow, key=key, base=base)
    for name, values in form.texts.items():
        made.parameters_text[name].values.extend(values)
    return made


def _name_of(part: MultipartSegment) -> str:
    name: str = part.name or ""
    if not name or "\x00" in name:
        raise InvalidArgument(violations=[Violation("body", "BAD_NAME", "Give every part the name of a parameter.")])
    if part.filename and (name == RUN_PART or "\x00" in part.filename):
        raise InvalidArgument(violations=[Violation(name, "BAD_NAME", "Send this part without a file name.")])
    return name


def _text_of(data: bytes, name: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise InvalidArgument(violations=[Violation(name, "NOT_UTF8", "Send text in UTF-8.")]) from None
    if "\x00" in text:
        raise InvalidArgument(violations=[Violation(name, "BAD_STRING", "Send text without NUL.")])
    return text


def _file_request_id(key: str, name: str, position: int) -> str:
    """Makes the same request under one key upload the same files; without a key every upload is new."""
    if not key:
        return ""
    return "form-" + hashlib.sha256(f"{key}\x00{name}\x00{position}".encode()).hexdigest()
