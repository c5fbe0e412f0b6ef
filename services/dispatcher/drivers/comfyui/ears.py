"""All sockets of one backend: the session's own, and one for each client id of an adopted prompt (A9)."""

import asyncio
from collections.abc import Callable

from services.dispatcher.drivers.comfyui.frames import Frame
from services.dispatcher.drivers.comfyui.queue import QueueReading
from services.dispatcher.drivers.comfyui.socket import ComfySocket
from services.dispatcher.drivers.driver import BackendAddress, Stopwatch

SILENCE = 2.0
"""With our prompt running and no frame for so long, the socket is taken for deaf (A9)."""

OnFrame = Callable[[ComfySocket, Frame, str | bytes], None]


class Ears:
    """Hears frames; every one goes to `on_frame` with the socket that it came by."""

    def __init__(
        self,
        *,
        address: BackendAddress,
        client_id: str,
        stopwatch: Stopwatch,
        on_frame: OnFrame,
        on_break: Callable[[], None],
    ) -> None:
        self._address = address
        self._stopwatch = stopwatch
        self._on_frame = on_frame
        self._on_break = on_break
        self._sockets: dict[str, ComfySocket] = {}
        self._adopted: dict[str, asyncio.Task[None]] = {}
        self._own = self._new(client_id)

    async def run(self) -> None:
        """Keep the own socket, and those that are added, until cancelled."""
        try:
            await self._own.run()
        finally:
            for task in self._adopted.values():
                task.cancel()
            await asyncio.gather(*self._adopted.values(), return_exceptions=True)

    async def opened(self) -> None:
        """Return once the own socket is open; what pause it makes between two attempts ends now."""
        self._own.hurry()
        await self._own.opened()

    def listen_as(self, client_id: str) -> None:
        """Hear what is said to another client id, until `keep` finds no prompt of it."""
        if client_id not in self._sockets:
            socket = self._new(client_id)
            self._adopted[client_id] = asyncio.create_task(socket.run(), name="comfyui-adopted-socket")

    def keep(self, reading: QueueReading) -> None:
        """Close the sockets of adopted prompts that left; break those that went deaf.

        A half-open old socket makes a new one deaf, and nothing on the wire tells; reconnecting takes a moment.
        """
        present = {item.client_id for item in reading.items.values()}
        for client_id in [known for known in self._adopted if known not in present]:
            self._adopted.pop(client_id).cancel()
            del self._sockets[client_id]
        now = self._stopwatch()
        for item in reading.items.values():
            socket = self._sockets.get(item.client_id)
            if item.running and socket and socket.heard_at is not None and now - socket.heard_at > SILENCE:
                socket.abort()

    def heard_at(self) -> list[float]:
        """When each socket heard last."""
        return [socket.heard_at for socket in self._sockets.values() if socket.heard_at is not None]

    def _new(self, client_id: str) -> ComfySocket:
        socket = ComfySocket(
            address=self._address,
            client_id=client_id,
            stopwatch=self._stopwatch,
            on_frame=self._on_frame,
            on_break=self._on_break,
        )
        self._sockets[client_id] = socket
        return socket
