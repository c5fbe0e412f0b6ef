"""The knobs: latency, stalls, failures, death."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.standin.knobs import Knobs
from services.standin.server import open_standin
from tests.conformance.client import DEADLINE_SECONDS, connect

Json = Any


def prompt(text: str = "x") -> Json:
    """A run of one node."""
    return {"1": {"class_type": "PreviewAny", "inputs": {"source": text}}}


async def test_next_prompts_fail_as_often_as_asked(tmp_path: Path) -> None:
    """And then no more."""
    async with open_standin(folder=tmp_path, knobs=Knobs(fail_next_prompts=1)) as server, connect(server) as client:
        assert (await client.run(prompt()))["status"]["status_str"] == "error"
        assert (await client.run(prompt()))["status"]["status_str"] == "success"


async def test_failing_classes_fail_until_turned_back(tmp_path: Path) -> None:
    """By class."""
    async with open_standin(folder=tmp_path) as server, connect(server) as client:
        server.turn(failing_classes=["PreviewAny"])
        assert (await client.run(prompt()))["status"]["status_str"] == "error"
        server.turn(failing_classes=[])
        assert (await client.run(prompt()))["status"]["status_str"] == "success"


async def test_refused_answers_are_500_and_count_down(tmp_path: Path) -> None:
    """Whatever the request."""
    async with open_standin(folder=tmp_path) as server, connect(server) as client:
        server.turn(refuse_next_answers=2)
        assert [await client.send("/interrupt") for _ in range(3)] == [500, 500, 200]


async def test_stalled_frames_come_later_and_in_order(tmp_path: Path) -> None:
    """HTTP stays right meanwhile."""
    async with open_standin(folder=tmp_path) as server, connect(server) as client:
        server.turn(stall_frames=True)
        prompt_id = await client.post(prompt())
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                async with client.session.get(f"{server.url}/history/{prompt_id}") as answer:
                    if await answer.json():
                        break
        assert client.seen("execution_start") == []
        server.turn(stall_frames=False)
        await client.until("executing", node=None, prompt_id=prompt_id)
        assert len(client.seen("execution_start")) == 1


async def test_stalled_execution_leaves_the_prompt_running(tmp_path: Path) -> None:
    """Until the knob is turned back."""
    async with open_standin(folder=tmp_path) as server, connect(server) as client:
        server.turn(stall_execution=True)
        prompt_id = await client.post(prompt())
        await client.until("executing", node="1")
        async with client.session.get(f"{server.url}/queue") as answer:
            assert len((await answer.json())["queue_running"]) == 1
        server.turn(stall_execution=False)
        await client.until("executing", node=None, prompt_id=prompt_id)


async def test_stalled_answers_wait(tmp_path: Path) -> None:
    """A request is accepted and gets its answer when the knob is turned back."""
    async with open_standin(folder=tmp_path) as server, connect(server) as client:
        server.turn(stall_answers=True)
        waiting = asyncio.create_task(client.send("/interrupt"))
        done, _ = await asyncio.wait({waiting}, timeout=0.1)
        assert not done
        server.turn(stall_answers=False)
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await waiting == 200


async def test_death_drops_sockets_and_port(tmp_path: Path) -> None:
    """Without a close frame."""
    knobs = Knobs(die_at_class="PreviewAny")
    async with open_standin(folder=tmp_path, knobs=knobs) as server, connect(server) as client:
        await client.post(prompt())
        async with asyncio.timeout(DEADLINE_SECONDS):
            await server.wait_for_death()
            while not client.socket.closed:
                await client.socket.receive()
        assert client.socket.close_code == 1006
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.send("/interrupt")


async def test_killed_server_leaves_its_port(tmp_path: Path) -> None:
    """Another one can take it at once."""
    async with open_standin(folder=tmp_path) as server, connect(server) as client:
        await client.post(prompt())
        server.kill()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await server.wait_for_death()
        async with open_standin(folder=tmp_path, port=server.port) as second, connect(second) as other:
            assert second.url == server.url
            assert (await other.run(prompt()))["status"]["status_str"] == "success"


async def test_knobs_turn_by_post_only_where_that_is_allowed(tmp_path: Path) -> None:
    """Never on a stand-in that was not told to."""
    async with open_standin(folder=tmp_path / "closed") as server, connect(server) as client:
        assert await client.send("/standin/knobs", {"step_seconds": 1}) == 405
    async with open_standin(folder=tmp_path / "open", knobs_by_post=True) as server, connect(server) as client:
        assert await client.send("/standin/knobs", {"step_seconds": 1}) == 200
        assert server.knobs.now.step_seconds == 1.0
        assert await client.send("/standin/knobs", {"no_such": 1}) == 400
        assert await client.send("/standin/knobs", [1]) == 400
        server.turn(refuse_next_answers=1)
        assert await client.send("/standin/knobs", {"refuse_next_answers": 0}) == 200


async def test_process_serves_and_dies_as_its_options_say(tmp_path: Path) -> None:
    """`python -m services.standin`: one line at start, exit 137 at death, 0 at SIGTERM."""
    command = (sys.executable, "-m", "services.standin", "--port", "0", "--folder", str(tmp_path))
    for more, expected in ((("--die-after-prompts", "1", "--node-latency", "0.3"), 137), ((), 0)):
        process = await asyncio.create_subprocess_exec(*command, *more, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            line = (await process.stdout.readline()).decode()
            url = line.split()[-1]
            body = {"prompt": prompt()}
            async with aiohttp.ClientSession() as session, session.post(f"{url}/prompt", json=body) as answer:
                assert answer.status == 200
            if expected == 0:
                process.terminate()
            assert await process.wait() == expected


HOSTILE = (
    b"{",
    b"null",
    b"[1]",
    b'"x"',
    b"1e999",
    b'{"prompt": {"1": {"class_type": ["x"]}}}',
    b'{"prompt": {"1": {"class_type": "PreviewAny", "inputs": []}}}',
    b'{"prompt": {"1": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}}}}',
    b'{"prompt": {"1": {"class_type": "EmptyImage", "inputs": {"width": 1e400}}}}',
    b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"prompt": {}, "number": "' + b"9" * 10_000 + b'"}',
    b'{"prompt": {"\\ud800": {"class_type": "PreviewAny"}}}',
)


@pytest.mark.parametrize("body", HOSTILE)
async def test_hostile_bodies_hurt_nobody(tmp_path: Path, body: bytes) -> None:
    """An error for the caller, and the next prompt runs."""
    async with open_standin(folder=tmp_path) as server, connect(server) as client:
        for path in ("/prompt", "/queue", "/history", "/interrupt", "/free"):
            async with client.session.post(f"{server.url}{path}", data=body) as answer:
                assert answer.status in (200, 400, 500)
        assert (await client.run(prompt()))["status"]["status_str"] == "success"


@pytest.mark.parametrize(
    "odd", [{"client_id": ["list"]}, {"client_id": {"a": 1}}, {"client_id": 5}, {"extra_data": {"extra_pnginfo": 5}}]
)
async def test_odd_clients_hurt_nobody(tmp_path: Path, odd: Json) -> None:
    """Frames for a client that cannot be are lost; other clients go on."""
    async with open_standin(folder=tmp_path) as server, connect(server) as client:
        async with client.session.post(f"{server.url}/prompt", json={"prompt": prompt("odd"), **odd}) as answer:
            assert answer.status in (200, 500)
        assert (await client.run(prompt()))["status"]["status_str"] == "success"


async def test_taken_port_is_an_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """The first server goes on."""
    async with open_standin(folder=tmp_path / "first") as server, connect(server) as client:
        with pytest.raises(OSError, match="in use"):
            async with open_standin(folder=tmp_path / "second", port=server.port):
                pass
        assert (await client.run(prompt()))["status"]["status_str"] == "success"
