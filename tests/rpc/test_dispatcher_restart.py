"""SIGKILL of a dispatcher at every point of a run's life: the next one submits nothing twice and tells every output."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from comfyfleet.run.v1 import run_queue_pb2

from services.dispatcher.worker.synchronizer import Superseded
from tests.rpc.dispatcher_process import open_dispatcher_process
from tests.rpc.test_dispatcher import SUCCEEDED, Graph, World, is_running, prompts_at, saved, sleeping
from tests.servers.file_room import open_file_room
from tests.servers.run_room import open_run_room


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A run room and a file room."""
    async with open_run_room() as room, open_file_room() as files:
        yield World(room=room, files=files, folder=tmp_path)


class Gate:
    """Stands before a backend and can keep what is posted to `/prompt` for a while, whatever becomes of the poster."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.posted = asyncio.Event()
        self.looked = asyncio.Event()
        """Set once somebody was told what the history knows of a prompt."""
        self._tasks: set[asyncio.Task[web.Response]] = set()

    async def answer(self, request: web.Request) -> web.Response:
        """Pass a request on; WebSockets are refused, so the driver asks instead of listening."""
        if request.path.endswith("/ws"):
            return web.Response(status=403)
        body = await request.read()
        task = asyncio.create_task(self._pass_on(request.method, str(request.rel_url), body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _pass_on(self, method: str, path: str, body: bytes) -> web.Response:
        if method == "POST" and path == "/prompt":
            self.posted.set()
            await self.is_open.wait()
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, self._target + path, data=body) as answer,
        ):
            content = await answer.read()
            if path.startswith("/history/"):
                self.looked.set()
            return web.Response(status=answer.status, body=content, headers={"Content-Type": answer.content_type})


@asynccontextmanager
async def open_gate(target: str) -> AsyncIterator[tuple[Gate, str]]:
    """A gate on a free port, and its URL."""
    gate = Gate(target)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", gate.answer)
    async with TestServer(application) as server:
        yield gate, str(server.make_url("")).rstrip("/")


def with_two_more(graph: Graph) -> Graph:
    """Two more outputs, of nodes that end before the slow one and after it."""
    graph["0"] = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "early"}}
    graph["9"] = {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "late"}}
    return graph


async def test_assigned_and_not_submitted(world: World) -> None:
    async with world.backend("a") as backend:
        async with open_dispatcher_process(world.settings(backend.url)) as victim:
            await world.room.until_ready(backend.url)
            key = world.room.assign(saved(), runner=backend.url, action=run_queue_pb2.ACTION_STAGE)
            await world.room.until(lambda: "waiting" in world.room.phases(key))
            await victim.kill()
        world.room.change(key, action=run_queue_pb2.ACTION_RUN)
        async with world.dispatcher(backend.url):
            state = await world.room.until_finished(key)
        assert state.finished.outcome == SUCCEEDED
        assert len(await prompts_at(backend.url)) == 1


async def test_submission_arrives_only_after_the_next_session_has_looked(world: World) -> None:
    """The POST outlives its dispatcher, and its prompt appears in the queue only after the next one has read it."""
    async with world.backend("a") as backend, open_gate(backend.url) as (gate, url):
        async with open_dispatcher_process(world.settings(url)) as victim:
            await world.room.until_ready(url)
            gate.is_open.clear()
            key = world.room.assign(sleeping(3), runner=url)
            async with asyncio.timeout(20):
                await gate.posted.wait()
            await victim.kill()
        assert await prompts_at(backend.url) == []
        gate.posted.clear()
        gate.looked.clear()
        async with world.dispatcher(url):
            async with asyncio.timeout(20):
                await gate.looked.wait()
            gate.is_open.set()
            state = await world.room.until_finished(key)
        assert state.finished.outcome == SUCCEEDED
        assert not gate.posted.is_set()
        assert len(await prompts_at(backend.url)) == 1


async def test_executed_and_outputs_not_stored(world: World) -> None:
    """The file room is away when the prompt ends; the next session stores what the backend has made."""
    async with world.backend("a") as backend:
        world.files.tokens = {"another"}
        async with open_dispatcher_process(world.settings(backend.url)) as victim:
            await world.room.until_ready(backend.url)
            key = world.room.assign(saved(), runner=backend.url)
            await _until_ended(backend.url)
            await victim.kill()
        assert world.files.outputs_of(key[0]) == {}
        world.files.tokens = {"token"}
        async with world.dispatcher(backend.url):
            state = await world.room.until_finished(key)
        assert state.finished.outcome == SUCCEEDED
        assert len(state.outputs) == 1
        assert len(await prompts_at(backend.url)) == 1


async def test_reported_and_not_acknowledged(world: World) -> None:
    """The end is told again by the next session, with the same files."""
    world.room.forget_finished = False
    async with world.backend("a") as backend:
        async with open_dispatcher_process(world.settings(backend.url)) as victim:
            await world.room.until_ready(backend.url)
            key = world.room.assign(saved(), runner=backend.url)
            first = await world.room.until_finished(key)
            await victim.kill()
        world.room.finished.clear()
        async with world.dispatcher(backend.url):
            second = await world.room.until_finished(key)
        assert [one.file_id for one in second.outputs] == [one.file_id for one in first.outputs]
        assert len(world.files.outputs_of(key[0])) == 1
        assert len(await prompts_at(backend.url)) == 1


async def test_outputs_told_by_one_session_and_found_again_by_the_next(world: World) -> None:
    """The second session hears of the late outputs first; all three are told, each with the file that it had."""
    async with world.backend("a") as backend:
        async with open_dispatcher_process(world.settings(backend.url)) as victim:
            await world.room.until_ready(backend.url)
            key = world.room.assign(with_two_more(sleeping(2.0)), runner=backend.url)
            await world.room.until(lambda: world.room.desired[key].outputs_acknowledged == 1)
            await world.room.until(is_running(world.room, key))
            await victim.kill()
        told = dict(world.files.outputs_of(key[0]))
        async with world.dispatcher(backend.url):
            state = await world.room.until_finished(key)
        assert state.finished.outcome == SUCCEEDED
        assert sorted(one.node_id for one in state.outputs) == ["0", "2", "9"]
        assert told.items() <= world.files.outputs_of(key[0]).items()
        assert len(await prompts_at(backend.url)) == 1


async def test_superseded_dispatcher_ends_and_leaves_its_prompt_to_the_next(world: World) -> None:
    async with world.backend("a") as backend:

        async def superseded() -> None:
            async with world.dispatcher(backend.url, grace=timedelta(seconds=10)):
                await world.room.until_ready(backend.url)
                key = world.room.assign(sleeping(2.0), runner=backend.url)
                await world.room.until(is_running(world.room, key))
                await world.room.supersede()
                await asyncio.Event().wait()

        with pytest.raises(ExceptionGroup) as ended:
            await superseded()
        assert ended.group_contains(Superseded)
        (key,) = world.room.desired
        async with world.dispatcher(backend.url):
            state = await world.room.until_finished(key)
        assert state.finished.outcome == SUCCEEDED
        assert len(await prompts_at(backend.url)) == 1


async def _until_ended(url: str) -> None:
    """Return once the backend has ended a prompt."""
    async with asyncio.timeout(20), aiohttp.ClientSession() as http:
        history: dict[str, Any] = {}
        while not history:
            async with http.get(url + "/history") as answer:
                history = await answer.json()
