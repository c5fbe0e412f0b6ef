"""A small client of the protocol, for what the stand-in does beyond the recordings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from services.standin.server import StandinServer
from tests.conformance import picture

Json = Any
DEADLINE_SECONDS = 20.0


@dataclass
class Client:
    """One client with its socket; `frames` is what it saw of its prompts."""

    server: StandinServer
    session: aiohttp.ClientSession
    socket: aiohttp.ClientWebSocketResponse
    frames: list[Json] = field(default_factory=list)

    async def post(self, prompt: Json, **more: Json) -> str:
        """Queues a prompt and gives its id."""
        body = {"prompt": prompt, "client_id": "client", **more}
        async with self.session.post(f"{self.server.url}/prompt", json=body) as answer:
            content = await answer.json()
            assert answer.status == 200, content
            return str(content["prompt_id"])

    async def until(self, kind: str, **data: Json) -> Json:
        """Reads frames up to one of this type and data, and gives its data."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            async for message in self.socket:
                if message.type == aiohttp.WSMsgType.BINARY:
                    self.frames.append({"binary": picture.decoded(message.data)})
                    continue
                frame = message.json()
                self.frames.append(frame)
                if frame["type"] == kind and data.items() <= frame["data"].items():
                    return frame["data"]
        raise AssertionError(f"the socket ended before {kind} {data}")

    async def run(self, prompt: Json, **more: Json) -> Json:
        """Runs a prompt to its end and gives its history entry."""
        prompt_id = await self.post(prompt, **more)
        await self.until("executing", node=None, prompt_id=prompt_id)
        return await self.entry(prompt_id)

    async def entry(self, prompt_id: str) -> Json:
        """A history entry."""
        async with self.session.get(f"{self.server.url}/history/{prompt_id}") as answer:
            return (await answer.json())[prompt_id]

    async def view(self, file: Json) -> bytes:
        """The bytes of an output."""
        async with self.session.get(f"{self.server.url}/view", params=file) as answer:
            assert answer.status == 200
            return await answer.read()

    async def send(self, path: str, body: Json = None) -> int:
        """A POST; gives its status."""
        async with self.session.post(f"{self.server.url}{path}", json=body) as answer:
            return answer.status

    def seen(self, kind: str) -> list[Json]:
        """The data of every frame of a type so far."""
        return [frame["data"] for frame in self.frames if frame.get("type") == kind]


@asynccontextmanager
async def connect(server: StandinServer) -> AsyncIterator[Client]:
    """A client whose socket is open."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{server.url}/ws?clientId=client") as socket:
        client = Client(server, session, socket)
        await client.until("status")
        yield client
