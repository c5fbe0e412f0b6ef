"""A whole dispatcher before a backend that misbehaves in one way: the run ends as it must, and nothing is made up."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from comfyfleet.run.v1 import run_queue_pb2, runner_pb2

from services.dispatcher.drivers.comfyui.socket import MAX_FRAME_BYTES
from tests.rpc.test_dispatcher import SUCCEEDED, World, is_running, prompts_at, sampling, saved, sleeping
from tests.servers.file_room import open_file_room
from tests.servers.ports import free_port
from tests.servers.run_room import open_run_room

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
PREVIEWS_A_SECOND = 4
MOST_SOCKETS = 12


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A run room and a file room."""
    async with open_run_room() as room, open_file_room() as files:
        yield World(room=room, files=files, folder=tmp_path)


class Meddler:
    """Stands before a backend and answers some paths by itself; its WebSocket says nothing unless a test says what."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.sockets = 0
        self.instead: dict[str, Answer] = {"/ws": _say_nothing}
        """Answers by the beginning of the path."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Meddle, or pass the request on."""
        self.sockets += request.path == "/ws"
        for path, answer in self.instead.items():
            if request.path.startswith(path):
                return await answer(request)
        return await self.pass_on(request)

    async def pass_on(self, request: web.Request) -> web.Response:
        """What the backend itself answers."""
        async with (
            aiohttp.ClientSession() as http,
            http.request(
                request.method,
                self._target + str(request.rel_url),
                data=await request.read(),
                headers=_kind_of(request),
            ) as answer,
        ):
            kind = {"Content-Type": answer.content_type}
            return web.Response(status=answer.status, body=await answer.read(), headers=kind)


@asynccontextmanager
async def meddled(world: World) -> AsyncIterator[tuple[Meddler, str]]:
    """A backend behind a meddler, and the meddler's URL."""
    async with world.backend("a") as backend:
        meddler = Meddler(backend.url)
        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/{path:.*}", meddler.answer)
        async with TestServer(application) as server:
            yield meddler, str(server.make_url("")).rstrip("/")


async def _say_nothing(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for _ in socket:
        pass
    return socket


async def _say_garbage(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    for text in ("", "no json", "[]", "7", '{"type":7,"data":[]}', '{"type":"executing","data":null}', "[" * 100_000):
        await socket.send_str(text)
    for content in (b"", b"\x00", b"\x00\x00\x00\x04\xff\xff\xff\xff", b"\xff" * 64):
        await socket.send_bytes(content)
    try:
        await socket.send_bytes(bytes(MAX_FRAME_BYTES + 1))
        async for _ in socket:
            pass
    except ConnectionError:
        pass  # it hung up on us, as it should
    return socket


@pytest.mark.parametrize("speech", [_say_nothing, _say_garbage], ids=["silent", "garbage"])
async def test_socket_that_tells_nothing_of_use_costs_no_run(world: World, speech: Answer) -> None:
    async with meddled(world) as (meddler, url), world.dispatcher(url):
        meddler.instead["/ws"] = speech
        await world.room.until_ready(url)
        key = world.room.assign(saved(), runner=url)
        state = await world.room.until_finished(key, seconds=40)
        assert state.finished.outcome == SUCCEEDED, state
        assert len(state.outputs) == 1
        assert len(await prompts_at(url)) == 1
        assert meddler.sockets < MOST_SOCKETS, "it is called again and again"


async def test_history_that_breaks_off_is_asked_again(world: World) -> None:
    async with meddled(world) as (meddler, url), world.dispatcher(url):
        refusals = 3

        async def refuse_first(request: web.Request) -> web.StreamResponse:
            nonlocal refusals
            refusals -= 1
            if refusals >= 0:
                assert request.transport is not None
                request.transport.abort()
            return await meddler.pass_on(request)

        await world.room.until_ready(url)
        meddler.instead["/history/"] = refuse_first
        key = world.room.assign(saved(), runner=url)
        state = await world.room.until_finished(key, seconds=40)
        assert state.finished.outcome == SUCCEEDED, state
        assert len(await prompts_at(url)) == 1


async def test_output_that_is_never_there_is_no_success(world: World) -> None:
    async def missing(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=404)

    async with meddled(world) as (meddler, url), world.dispatcher(url):
        meddler.instead["/view"] = missing
        await world.room.until_ready(url)
        key = world.room.assign(saved(), runner=url)
        state = await world.room.until_finished(key, seconds=40)
        assert state.finished.outcome == run_queue_pb2.OUTCOME_OUTPUT_LOST
        assert state.finished.error.retryable
        assert world.files.outputs_of(key[0]) == {}


async def test_empty_output_is_an_output(world: World) -> None:
    async def empty(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"", content_type="image/png")

    async with meddled(world) as (meddler, url), world.dispatcher(url):
        meddler.instead["/view"] = empty
        await world.room.until_ready(url)
        key = world.room.assign(saved(), runner=url)
        state = await world.room.until_finished(key, seconds=40)
        assert state.finished.outcome == SUCCEEDED, state
        (output,) = state.outputs
        assert (output.size_bytes, output.sha256) == (0, hashlib.sha256(b"").hexdigest())


async def test_cancel_while_the_submission_is_unanswered_leaves_nothing(world: World) -> None:
    async with meddled(world) as (meddler, url), world.dispatcher(url):
        posted, may_go = asyncio.Event(), asyncio.Event()

        async def hold(request: web.Request) -> web.StreamResponse:
            if request.method == "POST":
                posted.set()
                await may_go.wait()
            return await meddler.pass_on(request)

        await world.room.until_ready(url)
        meddler.instead["/prompt"] = hold
        key = world.room.assign(sleeping(30), runner=url)
        async with asyncio.timeout(20):
            await posted.wait()
        world.room.change(key, action=run_queue_pb2.ACTION_CANCEL)
        may_go.set()
        state = await world.room.until_finished(key, seconds=40)
        assert state.finished.outcome == run_queue_pb2.OUTCOME_INTERRUPTED
        assert state.finished.error.code == "CANCELLED"
        await world.room.until(lambda: (one := world.room.runner(url)) and not one.reaping_prompt_ids)


async def test_cancel_before_the_submission_submits_nothing(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        key = world.room.assign(saved(), runner=backend.url, action=run_queue_pb2.ACTION_STAGE)
        await world.room.until(lambda: "waiting" in world.room.phases(key))
        world.room.change(key, action=run_queue_pb2.ACTION_CANCEL)
        state = await world.room.until_finished(key)
        assert state.finished.outcome == run_queue_pb2.OUTCOME_INTERRUPTED
        assert await prompts_at(backend.url) == []


async def test_dead_backend_hinders_no_other(world: World) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    async with world.backend("a") as backend, world.dispatcher(dead, backend.url):
        await world.room.until_ready(backend.url)
        waiting = world.room.assign(saved(), runner=dead)
        key = world.room.assign(saved(), runner=backend.url)
        assert (await world.room.until_finished(key)).finished.outcome == SUCCEEDED
        runner = world.room.runner(dead)
        assert runner is not None
        assert (runner.health, runner.recovered) == (runner_pb2.RUNNER_HEALTH_OFFLINE, False)
        assert waiting not in world.room.finished


async def test_strangers_interrupt_counts_against_nobody(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        key = world.room.assign(sleeping(30), runner=backend.url)
        await world.room.until(is_running(world.room, key))
        async with aiohttp.ClientSession() as http, http.post(backend.url + "/interrupt", json={}) as answer:
            assert answer.status == 200
        state = await world.room.until_finished(key)
        assert state.finished.outcome == run_queue_pb2.OUTCOME_INTERRUPTED
        assert state.finished.error.code == "INTERRUPTED_BY_OTHERS"
        assert state.finished.error.retryable


async def test_previews_are_few_and_only_while_they_are_wanted(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        backend.turn(step_seconds=0.02)
        unwatched = world.room.assign(_steps(40, seed=1), runner=backend.url)
        assert (await world.room.until_finished(unwatched)).finished.outcome == SUCCEEDED
        assert world.room.previews == []
        backend.turn(step_seconds=0.05)
        began = asyncio.get_running_loop().time()
        watched = world.room.assign(_steps(40, seed=2), runner=backend.url, preview=True)
        assert (await world.room.until_finished(watched)).finished.outcome == SUCCEEDED
        seconds = asyncio.get_running_loop().time() - began
        assert 1 < len(world.room.previews) <= seconds * PREVIEWS_A_SECOND + 1
        assert {frame.run_id for frame in world.room.previews} == {watched[0]}


def _steps(count: int, *, seed: int) -> dict[str, dict[str, object]]:
    graph = sampling()
    graph["3"]["inputs"] |= {"steps": count, "seed": seed}
    return graph


def _kind_of(request: web.Request) -> dict[str, str]:
    return {"Content-Type": request.headers["Content-Type"]} if "Content-Type" in request.headers else {}
