"""Drives a backend directly, as a program without a fleet would: POST, WebSocket, history, bytes."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp


class DirectClient:
    """One WebSocket and one HTTP session to one backend."""

    def __init__(self, session: aiohttp.ClientSession, url: str, client_id: str) -> None:
        self._session = session
        self._url = url
        self._client_id = client_id
        self._ended: dict[str, asyncio.Event] = {}

    async def run(self, graph: dict[str, Any]) -> bytes:
        """Executes a graph and returns the bytes of its only picture."""
        prompt_id = str(uuid.uuid4())
        ended = self._ended[prompt_id] = asyncio.Event()
        body = {"prompt": graph, "client_id": self._client_id, "prompt_id": prompt_id}
        async with self._session.post(f"{self._url}/prompt", json=body) as answer:
            answer.raise_for_status()
            await answer.read()
        await ended.wait()
        return await self._fetch(prompt_id)

    async def run_burst(self, graphs: Sequence[dict[str, Any]], *, in_flight: int = 8) -> int:
        """Executes all graphs with that many POSTs at a time, fetches every picture, and returns their bytes."""
        gate = asyncio.Semaphore(in_flight)
        identifiers = [str(uuid.uuid4()) for _ in graphs]
        for prompt_id in identifiers:
            self._ended[prompt_id] = asyncio.Event()

        async def post(prompt_id: str, graph: dict[str, Any]) -> None:
            body = {"prompt": graph, "client_id": self._client_id, "prompt_id": prompt_id}
            async with gate, self._session.post(f"{self._url}/prompt", json=body) as answer:
                answer.raise_for_status()
                await answer.read()

        async def finish(prompt_id: str) -> int:
            await self._ended[prompt_id].wait()
            return len(await self._fetch(prompt_id))

        async with asyncio.TaskGroup() as tasks:
            for prompt_id, graph in zip(identifiers, graphs, strict=True):
                tasks.create_task(post(prompt_id, graph))
            finishing = [tasks.create_task(finish(prompt_id)) for prompt_id in identifiers]
        return sum(task.result() for task in finishing)

    async def _fetch(self, prompt_id: str) -> bytes:
        async with self._session.get(f"{self._url}/history/{prompt_id}") as answer:
            history = await answer.json()
        outputs = history[prompt_id]["outputs"]
        image = next(iter(outputs.values()))["images"][0]
        async with self._session.get(f"{self._url}/view", params=image) as answer:
            answer.raise_for_status()
            return await answer.read()

    async def listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Reads frames for ever and notes which prompts ended."""
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                frame = json.loads(message.data)
                if frame["type"] == "executing" and frame["data"]["node"] is None:
                    ended = self._ended.get(frame["data"]["prompt_id"])
                    if ended is not None:
                        ended.set()


@contextlib.asynccontextmanager
async def open_direct(url: str) -> AsyncIterator[DirectClient]:
    """Connects to a backend and waits for its first status."""
    client_id = uuid.uuid4().hex
    connector = aiohttp.TCPConnector(limit=100)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(f"{url}/ws", params={"clientId": client_id}, max_msg_size=0) as socket,
    ):
        await socket.receive()
        client = DirectClient(session, url, client_id)
        listening = asyncio.create_task(client.listen(socket), name="frames")
        try:
            yield client
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
