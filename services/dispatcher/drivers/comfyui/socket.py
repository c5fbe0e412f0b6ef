"""One WebSocket to a backend, reconnected for ever (A9, PROTOCOL.md §4).

1. Connect with the client id; the flags go first, or they do not count.
2. Read: every frame is handed to a callback that never waits, since a reader that waits stalls every client.
3. When the connection ends, or `abort` was called: reset the old connection hard, so that the server forgets it before
   the new one registers under the same id; then from 1, at once after one that lasted, else with growing pauses.
"""

import asyncio
import json
import random
import socket as sockets
import struct
from collections.abc import Callable
from urllib.parse import quote

import aiohttp
import structlog

from services.dispatcher.drivers.comfyui.frames import Frame, parse_binary, parse_text
from services.dispatcher.drivers.driver import BackendAddress, Stopwatch

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Pictures of SaveImageWebsocket come whole in one frame."""
_FLAGS = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 5.0
_LASTING = 1.0
"""A connection that opens and breaks sooner is not worth hurrying for the next."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

log = structlog.get_logger()


class ComfySocket:
    """The connection of one client id to one backend."""

    def __init__(
        self,
        *,
        address: BackendAddress,
        client_id: str,
        stopwatch: Stopwatch,
        on_frame: Callable[["ComfySocket", Frame, str | bytes], None],
        on_break: Callable[[], None],
    ) -> None:
        self._url = f"{address.url.rstrip('/')}/ws?clientId={quote(client_id, safe='')}"
        self._headers = dict(address.headers)
        self._stopwatch = stopwatch
        self._on_frame = on_frame
        self._on_break = on_break
        self._open = asyncio.Event()
        self._hurry = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._aborted = False
        self._broke_early = False
        self.client_id = client_id
        self.current_prompt = ""
        """The prompt of the last frame that named one: frames without a name belong to it (PROTOCOL.md §5)."""
        self.heard_at: float | None = None
        """Monotonic seconds of the last frame, or of the connection's opening."""

    @property
    def is_open(self) -> bool:
        """Whether the first frame of a connection came and none broke it since."""
        return self._open.is_set()

    async def opened(self) -> None:
        """Return once the connection is open."""
        await self._open.wait()

    def abort(self) -> None:
        """End the connection now; `run` makes the next one."""
        if self._reading is not None:
            self._aborted = True
            self._reading.cancel()

    def hurry(self) -> None:
        """Connect now instead of after the pause: the backend answers again."""
        if not self._broke_early:
            self._hurry.set()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        pause = 0.0
        while True:
            try:
                async with asyncio.timeout(pause * random.uniform(0.5, 1.0)):  # noqa: S311 - jitter, no secret
                    await self._hurry.wait()
            except TimeoutError:
                pass
            self._hurry.clear()
            began = self._stopwatch()
            was_open = await self._connect_and_read()
            self._broke_early = was_open and not self._aborted and self._stopwatch() - began < _LASTING
            lasted = was_open and not self._broke_early
            pause = 0.0 if lasted else min(max(pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
            if was_open and not self._aborted:
                self._on_break()
            self._aborted = False

    async def _connect_and_read(self) -> bool:
        """One connection, to its end; whether it had opened. A session of its own, so that closing it resets it."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1), headers=self._headers) as session:
            try:
                async with asyncio.timeout(20):
                    connection = await session.ws_connect(
                        self._url,
                        timeout=aiohttp.ClientWSTimeout(ws_close=0.1),
                        max_msg_size=MAX_FRAME_BYTES,
                    )
            except (aiohttp.ClientError, TimeoutError, OSError):
                return False
            reading = self._reading = asyncio.create_task(self._read(connection), name="comfyui-frames")
            try:
                await asyncio.wait({reading})
                return self.is_open
            finally:
                reading.cancel()
                self._open.clear()
                _reset(connection)

    async def _read(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self.heard_at = self._stopwatch()
        self.current_prompt = ""
        try:
            await connection.send_str(_FLAGS)
            async for message in connection:
                self.heard_at = self._stopwatch()
                if message.type is aiohttp.WSMsgType.TEXT:
                    frame = parse_text(message.data)
                elif message.type is aiohttp.WSMsgType.BINARY:
                    frame = parse_binary(message.data)
                else:
                    break
                self._open.set()
                if frame is not None:
                    self._on_frame(self, frame, message.data)
        except (aiohttp.ClientError, ConnectionError) as error:
            log.debug("backend_socket_broke", error=str(error))
        except Exception:
            # A frame that we cannot take costs its connection, not the backend: what it said stands in the history.
            log.exception("backend_frame_fault")


def _reset(connection: aiohttp.ClientWebSocketResponse) -> None:
    """Close without a word: a closing handshake takes time in which the server still sends to the old socket (A9)."""
    transport_socket = connection.get_extra_info("socket")
    if transport_socket is not None:
        try:
            transport_socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _RESET_ON_CLOSE)
        except OSError:
            log.debug("backend_socket_gone")
