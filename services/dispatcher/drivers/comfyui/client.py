"""ComfyUI's HTTP interface (PROTOCOL.md §2, §3, §7, §8), with bounded answers: the backend is treated as hostile."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp

from services.dispatcher.drivers.comfyui.failure import storable
from services.dispatcher.drivers.comfyui.outputs import BackendFile
from services.dispatcher.drivers.comfyui.queue import QueueReading, read_queue
from services.dispatcher.drivers.driver import BackendAddress, BackendAway, Stopwatch

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Largest JSON that is read: a queue of a thousand prompts has 0.3 MB, a catalogue 0.5 MB."""
PIECE_BYTES = 256 * 1024

Json = dict[str, Any]

# Failed before anything was sent: the prompt is certainly not at the backend.
_UNSENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class BackendNonsense(BackendAway):
    """The backend answered something that no ComfyUI answers."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A status and the JSON object that came with it; empty where there was none."""

    status: int
    body: Json


class ComfyClient:
    """Requests to one backend. Every method raises BackendAway when there is no answer."""

    def __init__(self, *, address: BackendAddress, session: aiohttp.ClientSession, stopwatch: Stopwatch) -> None:
        self._url = address.url.rstrip("/")
        self._session = session
        self._stopwatch = stopwatch
        self.answered_at: float | None = None
        """Monotonic seconds of the last answer."""

    async def queue(self) -> QueueReading:
        """Everything that waits or runs."""
        asked_at = self._stopwatch()
        answer = await self._object("/queue")
        if not all(isinstance(answer.get(name), list) for name in ("queue_running", "queue_pending")):
            raise BackendNonsense("queue answered without its two lists")
        return read_queue(answer, asked_at=asked_at)

    async def history(self, prompt_id: str) -> Json | None:
        """The entry of an ended prompt; None for one that is unknown, waiting or running."""
        entry = (await self._object(f"/history/{quote(prompt_id, safe='')}")).get(prompt_id)
        return entry if isinstance(entry, dict) else None

    async def latest_history(self) -> str:
        """Id of the prompt that ended last; empty: none is remembered."""
        return next(iter(await self._object("/history", {"max_items": "1"})), "")

    async def system_stats(self) -> Json:
        """Version and devices."""
        answer = await self._object("/system_stats")
        if not isinstance(answer.get("system"), dict):
            raise BackendNonsense("system_stats answered without a system")
        return answer

    async def object_info(self) -> bytes:
        """The node catalogue, as it was sent."""
        status, content = await self._request("GET", "/object_info", seconds=120)
        if status != 200:
            raise BackendNonsense(f"/object_info answered {status}")
        return content

    async def has_jobs(self) -> bool:
        """Whether this release has the jobs interface, which 0.3.64 has not (A21)."""
        status, content = await self._request("GET", "/api/jobs", params={"limit": "1"})
        return status == 200 and isinstance(_parsed(content).get("jobs"), list)

    async def max_upload_bytes(self) -> int | None:
        """Largest request that it takes; None: it does not say."""
        status, content = await self._request("GET", "/features")
        size = _parsed(content).get("max_upload_size") if status == 200 else None
        return size if isinstance(size, int) and size > 0 else None

    async def submit(self, body: bytes) -> Answer:
        """Hand a prompt over. `BackendAway.unanswered` tells whether it may have arrived all the same."""
        status, content = await self._request("POST", "/prompt", data=body, seconds=60)
        if status >= 500:
            # Some 500s are answered although the prompt was queued (PROTOCOL.md §3), so the settle rule applies.
            raise BackendAway(f"/prompt answered {status}", unanswered=True)
        return Answer(status=status, body=_parsed(content))

    async def delete_pending(self, prompt_id: str) -> None:
        """Take a prompt out of the waiting; nothing happens to one that runs."""
        await self._command("/queue", {"delete": [prompt_id]})

    async def interrupt(self, prompt_id: str, *, by_jobs: bool) -> None:
        """Stop exactly this prompt at its next step; newer releases have a request of its own for it (A21)."""
        if by_jobs:
            status, _ = await self._request("POST", f"/api/jobs/{quote(prompt_id, safe='')}/cancel", data=b"{}")
            if status == 200:
                return
        await self._command("/interrupt", {"prompt_id": prompt_id})

    async def size_of(self, file: BackendFile) -> int | None:
        """How many bytes a file at the backend has; None: it is not there. One byte is read."""
        async with self._view(file, {"Range": "bytes=0-0"}) as response:
            if response.status not in (200, 206):
                return None
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            if total.isdecimal():
                return int(total)
            return response.content_length if response.status == 200 else None

    @asynccontextmanager
    async def view(self, file: BackendFile) -> AsyncIterator[aiohttp.ClientResponse]:
        """A file at the backend, to be read in pieces; the status is the caller's to judge."""
        async with self._view(file, {}) as response:
            yield response

    async def upload(self, route: str, form: aiohttp.MultipartWriter) -> Answer:
        """Send a multipart form to `/upload/…`; not repeated here."""
        try:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=120)
            async with self._session.post(self._url + route, data=form, timeout=timeout) as response:
                content = await _bounded(response)
                self.answered_at = self._stopwatch()
                return Answer(status=response.status, body=_parsed(content))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise BackendAway(_named(error)) from error

    @asynccontextmanager
    async def _view(self, file: BackendFile, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        params = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
        try:
            async with self._session.get(
                self._url + "/view", params=params, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                self.answered_at = self._stopwatch()
                yield response
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise BackendAway(_named(error)) from error

    async def _command(self, path: str, body: Json) -> None:
        await self._request("POST", path, data=json.dumps(body).encode())

    async def _object(self, path: str, params: dict[str, str] | None = None) -> Json:
        status, content = await self._request("GET", path, params=params)
        if status != 200:
            raise BackendNonsense(f"{path.split('/')[1]} answered {status}")
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise BackendNonsense(f"{path.split('/')[1]} answered no JSON") from error
        if not isinstance(value, dict):
            raise BackendNonsense(f"{path.split('/')[1]} answered no object")
        return value

    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        data: bytes | None = None,
        seconds: float = 15,
    ) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} if data is not None else None
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=5)
        try:
            async with self._session.request(
                method,
                self._url + path,
                params=params,
                data=data,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                content = await _bounded(response)
        except _UNSENT as error:
            raise BackendAway(_named(error)) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise BackendAway(_named(error), unanswered=True) from error
        self.answered_at = self._stopwatch()
        return response.status, content


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    length = response.content_length
    if length is not None and length <= MAX_ANSWER_BYTES:
        return await response.read()
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_chunked(PIECE_BYTES):
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise BackendNonsense(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _parsed(content: bytes) -> Json:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _named(error: BaseException) -> str:
    return storable(f"{type(error).__name__}: {error}"[:300])
