"""Brings input files to the backend once, under names made of their content (PROTOCOL.md §7).

A name that was uploaded before is remembered, and checked to be there still: the backend's folder is nobody's.
Two executions that need the same file wait for one upload.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine

import aiohttp

from services.common.errors import DomainError, NotFound, Unauthenticated, Unavailable
from services.dispatcher.drivers.comfyui.client import Answer, ComfyClient
from services.dispatcher.drivers.comfyui.outputs import BackendFile
from services.dispatcher.drivers.driver import BackendAway, ExecutionEnded, Files, Observer
from services.dispatcher.model.desired import ExecutionInput
from services.dispatcher.model.ending import Outcome, ended
from services.dispatcher.model.output import OutputPlace

SUBFOLDER = "comfyfleet"
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,10}$")
_ANNOTATION = re.compile(r"^(?P<path>.*?)(?: \[(?P<type>input|temp|output)\])?$")
_LONGEST_PAUSE = 5.0
_FORM_BYTES = 4096
"""What the form adds to a file."""
_NOWHERE = OutputPlace(node_id="", key="", position=0)


class InputUploader:
    """The input files of one backend, as far as this process knows them."""

    def __init__(self, *, client: ComfyClient, files: Files) -> None:
        self._client = client
        self._files = files
        self._known: dict[str, BackendFile] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.max_bytes: int | None = None
        """Largest request that the backend takes; None: it does not say."""

    def forget(self) -> None:
        """Nothing is known to be there."""
        self._known.clear()

    async def bring(
        self, inputs: tuple[ExecutionInput, ...], *, literals: Callable[[ExecutionInput], str], observer: Observer
    ) -> dict[ExecutionInput, str]:
        """The name of each input at the backend, all of them there. `literals` tells what an input's value is now.

        Raises BackendAway, and ExecutionEnded where a file cannot be had or is not taken.
        """
        total = sum(wanted.size_bytes for wanted in inputs)
        names: dict[ExecutionInput, str] = {}
        pictures: dict[str, BackendFile] = {}
        done = 0
        for wanted in sorted(inputs, key=lambda item: item.mask):
            if self.max_bytes is not None and wanted.size_bytes + _FORM_BYTES > self.max_bytes:
                # Sent all the same, the refusal would come as a broken connection.
                raise _too_large()
            if wanted.mask:
                picture = pictures.get(wanted.node_id) or _named(literals(wanted))
                there = await self._mask(wanted, picture, observer)
                names.update({known: _value(there) for known in names if known.node_id == wanted.node_id})
            else:
                there = await self._file(wanted, observer)
                pictures[wanted.node_id] = there
            names[wanted] = _value(there)
            done += wanted.size_bytes
            observer.staged(done, total)
        return names

    async def _file(self, wanted: ExecutionInput, observer: Observer) -> BackendFile:
        name = f"{wanted.sha256[:32]}{_extension(wanted.file_name)}"
        return await self._once(
            name, lambda: self._send("/upload/image", wanted, name, {}, observer), size=wanted.size_bytes
        )

    async def _mask(self, wanted: ExecutionInput, picture: BackendFile, observer: Observer) -> BackendFile:
        """The picture with the mask as its alpha; if the picture is absent, the server says 200 and writes nothing."""
        if await self._client.size_of(picture) is None:
            raise ExecutionEnded(
                ended(Outcome.REJECTED_HERE, "MASKED_PICTURE_MISSING", "The picture under the mask is not there.")
            )
        name = f"{picture.filename.rpartition('.')[0][:32]}-{wanted.sha256[:32]}.png"
        original = json.dumps({"filename": picture.filename, "subfolder": picture.subfolder, "type": picture.type})
        fields = {"original_ref": original}
        return await self._once(name, lambda: self._send("/upload/mask", wanted, name, fields, observer), size=None)

    async def _once(
        self, name: str, send: Callable[[], Coroutine[None, None, Answer]], *, size: int | None
    ) -> BackendFile:
        async with self._locks.setdefault(name, asyncio.Lock()):
            known = self._known.get(name)
            if known is not None:
                there = await self._client.size_of(known)
                if there is not None and size in (None, there):
                    return known
                del self._known[name]
            answer = await send()
            self._known[name] = placed = _placed(answer)
            return placed

    async def _send(
        self, route: str, wanted: ExecutionInput, name: str, fields: dict[str, str], observer: Observer
    ) -> Answer:
        """Stream the file from its room to the backend; an absent file room costs time only."""
        pause, refusals = 0.1, 0
        while True:
            failures: list[DomainError] = []
            try:
                return await self._client.upload(route, self._form(wanted, name, fields, observer, failures))
            except BackendAway:
                if not failures:
                    raise
            if not isinstance(failures[0], Unavailable):
                refusals += 1
                if refusals >= 3 or not isinstance(failures[0], NotFound | Unauthenticated):
                    message = f"The file {wanted.file_name or wanted.file_id} cannot be read: {failures[0].message}"
                    raise ExecutionEnded(ended(Outcome.FAILED, "INPUT_UNREADABLE", message, retryable=True))
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _form(
        self, wanted: ExecutionInput, name: str, fields: dict[str, str], observer: Observer, failures: list[DomainError]
    ) -> aiohttp.MultipartWriter:
        form = aiohttp.MultipartWriter("form-data")
        for field, value in {"subfolder": SUBFOLDER, "type": "input", **fields}.items():
            form.append(value).set_content_disposition("form-data", name=field)
        part = form.append(_read(self._files, wanted, observer, failures), {"Content-Type": "application/octet-stream"})
        part.set_content_disposition("form-data", name="image", filename=name)
        return form


async def _read(
    files: Files, wanted: ExecutionInput, observer: Observer, failures: list[DomainError]
) -> AsyncIterator[bytes]:
    """The file's bytes; a failure of the file room is kept apart from one of the backend."""
    try:
        async for piece in files.download(wanted.file_id, token=observer.file_token()):
            yield piece
    except DomainError as error:
        failures.append(error)
        raise aiohttp.ClientPayloadError(error.reason) from error


def _placed(answer: Answer) -> BackendFile:
    """Where the backend put the file; it may have chosen another name."""
    name, subfolder, kind = (answer.body.get(key) for key in ("name", "subfolder", "type"))
    if answer.status == 200 and isinstance(name, str) and isinstance(subfolder, str) and isinstance(kind, str):
        return BackendFile(place=_NOWHERE, filename=name, subfolder=subfolder, type=kind)
    if answer.status == 413:
        raise _too_large()
    if answer.status >= 500:
        raise BackendAway(f"an upload was answered {answer.status}")
    message = f"The backend refused an input with status {answer.status}."
    raise ExecutionEnded(ended(Outcome.REJECTED_HERE, "INPUT_REFUSED", message, retryable=True))


def _too_large() -> ExecutionEnded:
    message = "An input is larger than the backend takes."
    return ExecutionEnded(ended(Outcome.REJECTED_HERE, "INPUT_TOO_LARGE", message, retryable=True))


def _value(file: BackendFile) -> str:
    path = f"{file.subfolder}/{file.filename}" if file.subfolder else file.filename
    return path if file.type == "input" else f"{path} [{file.type}]"


def _named(value: str) -> BackendFile:
    """The file that a literal of the graph names."""
    match = _ANNOTATION.match(value)
    path, kind = (match["path"], match["type"] or "input") if match else (value, "input")
    subfolder, _, filename = path.rpartition("/")
    return BackendFile(place=_NOWHERE, filename=filename, subfolder=subfolder, type=kind)


def _extension(file_name: str) -> str:
    match = _EXTENSION.search(file_name)
    return match[0].lower() if match else ""
