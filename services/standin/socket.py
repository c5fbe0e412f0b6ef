"""WebSocket clients: one socket for each client id, one loop that writes to all of them in turn."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from services.standin.frame import SERVER_FEATURES, Frame, text_frame
from services.standin.knobs import KnobBoard
from services.standin.model.value import JsonObject


class Sockets:
    """The connected clients.

    Faithful to what was recorded, with its traps: a second socket with the same client id silently replaces the
    first; when that first one closes, it takes the registration of the second with it; and all frames leave
    through one loop that waits for each socket, so one client that does not read delays everybody.
    """

    def __init__(self, *, knobs: KnobBoard) -> None:
        self._loop = asyncio.get_running_loop()
        self._knobs = knobs
        self._outgoing: asyncio.Queue[Frame] = asyncio.Queue()
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._flags: dict[str, JsonObject] = {}
        self._queue_size: Callable[[], int] = int
        self._executing: Callable[[], tuple[Any, str | None]] = lambda: (None, None)

    def watch(self, *, queue_size: Callable[[], int], executing: Callable[[], tuple[Any, str | None]]) -> None:
        """Tells where to look for what a new client is greeted with."""
        self._queue_size = queue_size
        self._executing = executing

    def send(self, frame: Frame) -> None:
        """Puts a frame in line. Any thread."""
        with contextlib.suppress(RuntimeError):  # the loop of a server that is gone
            self._loop.call_soon_threadsafe(self._outgoing.put_nowait, frame)

    def send_status(self, remaining: int) -> None:
        """Tells every client how many prompts are running or pending. Any thread."""
        self.send(Frame(client_id=None, payload=text_frame("status", _status(remaining))))

    def wants_described_previews(self, client_id: Any) -> bool:
        """Whether this client asked for previews with metadata."""
        if not isinstance(client_id, str):
            return False
        return self._flags.get(client_id, {}).get("supports_preview_metadata") is True

    async def write_frames(self) -> None:
        """Writes frames in order, for as long as the server lives."""
        while True:
            frame = await self._outgoing.get()
            while self._knobs.now.stall_frames:  # noqa: ASYNC110 - both threads turn knobs
                await asyncio.sleep(0.02)
            if frame.client_id is None:
                targets = list(self._sockets.values())
            else:
                found = self._sockets.get(frame.client_id) if isinstance(frame.client_id, str) else None
                targets = [] if found is None else [found]
            for socket in targets:
                await _write(socket, frame.payload)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection, until the client goes."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client_id = request.rel_url.query.get("clientId", "") or uuid.uuid4().hex
        self._sockets[client_id] = socket
        self._flags[client_id] = {}
        try:
            await _write(socket, text_frame("status", {**_status(self._queue_size()), "sid": client_id}))
            running_client, running_node = self._executing()
            if running_client == client_id and running_node is not None:
                await _write(socket, text_frame("executing", {"node": running_node}))
            await self._listen(client_id, socket)
        finally:
            self._sockets.pop(client_id, None)
            self._flags.pop(client_id, None)
        return socket

    async def _listen(self, client_id: str, socket: web.WebSocketResponse) -> None:
        first = True
        async for message in socket:
            if message.type != WSMsgType.TEXT:
                continue
            try:
                sent = json.loads(message.data)
            except json.JSONDecodeError:
                continue
            if not isinstance(sent, dict):
                continue
            if first and sent.get("type") == "feature_flags" and client_id in self._flags:
                flags = sent.get("data", {})
                self._flags[client_id] = flags if isinstance(flags, dict) else {}
                target = self._sockets.get(client_id)
                if target is not None:
                    await _write(target, text_frame("feature_flags", SERVER_FEATURES))
            first = False


def _status(remaining: int) -> JsonObject:
    return {"status": {"exec_info": {"queue_remaining": remaining}}}


async def _write(socket: web.WebSocketResponse, payload: str | bytes) -> None:
    try:
        if isinstance(payload, str):
            await socket.send_str(payload)
        else:
            await socket.send_bytes(payload)
    except (ConnectionError, RuntimeError):
        return
