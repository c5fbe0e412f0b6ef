"""One WebSocket of a replay, and its frames."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import WSMsgType

from tests.conformance import picture
from tests.conformance.normal import normal
from tests.conformance.recording import bytes_of

Json = Any


@dataclass
class Connection:
    """One WebSocket of the replay."""

    socket: aiohttp.ClientWebSocketResponse
    frames: list[Json] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    reader: asyncio.Task[None] | None = None

    async def read(self) -> None:
        """Keeps every frame until the socket ends."""
        while True:
            message = await self.socket.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return
            async with self.arrived:
                self.frames.append(_frame(message))
                self.arrived.notify_all()


def _frame(message: aiohttp.WSMessage) -> Json:
    match message.type:
        case WSMsgType.TEXT:
            return {"json": json.loads(message.data)}
        case WSMsgType.BINARY:
            return {"binary": picture.decoded(message.data)}
        case _:
            return {"pong": bytes(message.data).decode()}


def comparable(frame: Json) -> Json:
    """A frame in the form in which it is compared."""
    if "binary" in frame:
        shown = dict(frame["binary"])
        if isinstance(shown.get("metadata"), str):
            shown["metadata"] = json.loads(shown["metadata"])
        return {"binary": shown}
    return {"json": normal(frame["json"])} if "json" in frame else frame


def recorded_frame(content: dict[str, Json]) -> Json:
    """A recorded frame in the form in which replayed ones are kept."""
    if "binary" in content:
        raw = bytes_of(content)
        assert raw is not None
        return {"binary": picture.decoded(raw)}
    return {key: content[key] for key in ("json", "pong", "ping") if key in content}
