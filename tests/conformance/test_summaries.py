"""What the recordings only sum up: a client that does not read, and the size of a long queue."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

from services.standin.call import NodeCall
from services.standin.frame import Preview
from services.standin.model.node import NodeDefinition, NodeResult
from services.standin.server import StandinServer, open_standin

DEADLINE_SECONDS = 20.0
PREVIEWS = 60


def flood(call: NodeCall, *, pictures: int) -> NodeResult:
    """Large previews, faster than anybody reads."""
    noise = Image.effect_noise((512, 512), 100).convert("RGB")
    for number in range(1, pictures + 1):
        call.report(number, pictures, Preview(picture=noise))
    return NodeResult(ui={"text": ["done"]})


FLOOD = NodeDefinition(
    class_type="Flood",
    run=flood,
    required={"pictures": ["INT", {"default": 0}]},
    output_node=True,
    not_idempotent=True,
)


def flood_prompt(pictures: int) -> dict[str, Any]:
    """A run that sends so many previews."""
    return {"1": {"class_type": "Flood", "inputs": {"pictures": pictures}}}


async def post(session: aiohttp.ClientSession, server: StandinServer, prompt: dict[str, Any], client: str) -> str:
    """Queues a prompt and gives its id."""
    async with session.post(f"{server.url}/prompt", json={"prompt": prompt, "client_id": client}) as answer:
        return str((await answer.json())["prompt_id"])


async def wait_for_history(session: aiohttp.ClientSession, server: StandinServer, prompt_id: str) -> None:
    """Returns once the prompt is in the history."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            async with session.get(f"{server.url}/history/{prompt_id}") as answer:
                if await answer.json():
                    return
            await asyncio.sleep(0.01)


async def wait_for_end(socket: aiohttp.ClientWebSocketResponse, prompt_id: str) -> None:
    """Returns once the client was told that its prompt ended."""
    async for message in socket:
        if message.type == aiohttp.WSMsgType.TEXT:
            content = message.json()
            if content["type"] == "executing" and content["data"] == {"node": None, "prompt_id": prompt_id}:
                return


async def test_client_that_does_not_read_delays_the_frames_of_all_others(tmp_path: Path) -> None:
    """As summed up in 10b: HTTP goes on, frames come once the stalled socket is gone."""
    async with (
        open_standin(folder=tmp_path, extra_nodes=[FLOOD]) as server,
        aiohttp.ClientSession() as session,
    ):
        host, port = server.host, server.port
        reader, writer = await asyncio.open_connection(host, port, limit=1024)
        request = (
            f"GET /ws?clientId=deaf HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        writer.write(request.encode())
        await reader.readuntil(b"\r\n\r\n")
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        async with session.ws_connect(f"{server.url}/ws?clientId=client-a") as socket:
            others = await post(session, server, flood_prompt(PREVIEWS), "deaf")
            own = await post(session, server, flood_prompt(0), "client-a")
            await wait_for_history(session, server, others)
            await wait_for_history(session, server, own)
            end = asyncio.create_task(wait_for_end(socket, own))
            done, _ = await asyncio.wait({end}, timeout=0.3)
            assert not done, "the stalled client delayed nobody"
            reader._transport.resume_reading()  # type: ignore[attr-defined]
            writer.transport.abort()
            async with asyncio.timeout(DEADLINE_SECONDS):
                await end


async def test_long_queue_is_shown_in_full(tmp_path: Path) -> None:
    """As summed up in 15: about 330 bytes for each pending prompt of three nodes."""
    prompt = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 1}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }
    async with open_standin(folder=tmp_path) as server, aiohttp.ClientSession() as session:
        server.turn(stall_execution=True)
        for _ in range(201):
            await post(session, server, prompt, "client-a")
        async with session.get(f"{server.url}/queue") as answer:
            body = await answer.read()
            queue = await answer.json()
        server.turn(stall_execution=False)
        assert len(queue["queue_running"]) == 1
        assert len(queue["queue_pending"]) == 200
        assert 250 * 200 < len(body) < 400 * 201
