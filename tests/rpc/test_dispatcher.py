"""A whole dispatcher between a scripted run room, a small file room and stand-in backends."""

import asyncio
import hashlib
import io
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from comfyfleet.dispatcher.v1 import dispatcher_pb2, dispatcher_pb2_grpc
from comfyfleet.run.v1 import run_queue_pb2, runner_pb2
from PIL import Image

from services.common.rpc.channel import open_channel
from services.common.rpc.metadata import bearer
from services.common.rpc.server import RoomServer
from services.common.settings import Settings
from services.dispatcher.room import open_dispatcher
from services.standin.server import StandinServer, open_standin
from tests.servers.file_room import SmallFileRoom, open_file_room
from tests.servers.ports import free_port
from tests.servers.run_room import FLEET, Key, ScriptedRunRoom, open_run_room

Graph = dict[str, Any]
SECRET = "ak-of-the-dispatcher"
AT_ONCE = timedelta(0)

SUCCEEDED = run_queue_pb2.OUTCOME_SUCCEEDED
LOST = run_queue_pb2.OUTCOME_LOST


@dataclass(kw_only=True)
class World:
    """What surrounds a dispatcher."""

    room: ScriptedRunRoom
    files: SmallFileRoom
    folder: Path

    def settings(self, *urls: str) -> Settings:
        """Settings of a dispatcher for these backends."""
        return Settings(
            state_dir=self.folder / "state",
            run_address=self.room.address,
            file_address=self.files.address,
            agent_secret=SECRET,
            comfyui_urls=list(urls),
            runner_tags=["lab"],
            runner_region="here",
        )

    def dispatcher(self, *urls: str, grace: timedelta = AT_ONCE) -> AbstractAsyncContextManager[RoomServer]:
        """A dispatcher that leaves at once what it has, as one that is killed does."""
        return open_dispatcher(settings=self.settings(*urls), drain_grace=grace)

    @asynccontextmanager
    async def backend(self, name: str, *, port: int = 0) -> AsyncIterator[StandinServer]:
        """A stand-in backend."""
        async with open_standin(folder=self.folder / name, port=port) as standin:
            yield standin


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A run room and a file room."""
    async with open_run_room() as room, open_file_room() as files:
        yield World(room=room, files=files, folder=tmp_path)


def saved() -> Graph:
    color = random.randrange(0xFFFFFF)
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": color}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }


def sleeping(seconds: float) -> Graph:
    graph = saved()
    graph["3"] = {"class_type": "StandinSleepBeside", "inputs": {"value": ["1", 0], "seconds": seconds}}
    graph["2"]["inputs"]["images"] = ["3", 0]
    return graph


def is_running(room: ScriptedRunRoom, key: Key) -> Callable[[], bool]:
    return lambda: "running" in room.phases(key)


async def prompts_at(url: str) -> list[Any]:
    """All prompts that the backend has or had, by its own word."""
    async with aiohttp.ClientSession() as http:
        async with http.get(url + "/history") as response:
            ended = [entry["prompt"] for entry in (await response.json()).values()]
        async with http.get(url + "/queue") as response:
            queue = await response.json()
    return [*ended, *queue["queue_running"], *queue["queue_pending"]]


async def test_run_is_executed_and_its_outputs_are_stored(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        key = world.room.assign(saved(), runner=backend.url)
        state = await world.room.until_finished(key)
        assert state.finished.outcome == SUCCEEDED, state
        (output,) = state.outputs
        (content,) = world.files.outputs_of(key[0]).values()
        assert output.sha256 == hashlib.sha256(content).hexdigest()
        assert (output.node_id, output.key, output.position, output.kind) == ("2", "images", 0, "output")


async def test_short_run_costs_one_report(world: World) -> None:
    """The hot path of EXECUTION D: nothing is said between the assignment and the end."""
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        key = world.room.assign(saved(), runner=backend.url)
        await world.room.until_finished(key)
        assert world.room.phases(key) == ["finished"]


async def test_runner_says_what_it_is(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        state = await world.room.until_ready(backend.url)
        await world.room.until(lambda: (runner := world.room.runner(backend.url)) and runner.runner_id)
        assert state.health == runner_pb2.RUNNER_HEALTH_HEALTHY
        assert state.runtime == "comfyui"
        assert (list(state.tags), state.region) == (["lab"], "here")
        assert (state.execution_slots, state.ahead_slots) == (1, 8)
        assert state.backend_version
        world.room.wanted_catalogues = [state.capabilities_hash]
        world.room.bump()
        await world.room.until(lambda: state.capabilities_hash in world.room.catalogues)
        content = world.room.catalogues[state.capabilities_hash]
        assert hashlib.sha256(content).hexdigest() == state.capabilities_hash
        assert "SaveImage" in json.loads(content)


async def test_long_run_is_told_while_it_executes(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        key = world.room.assign(sleeping(1.0), runner=backend.url)
        state = await world.room.until_finished(key)
        assert state.finished.outcome == SUCCEEDED
        assert world.room.phases(key)[-2:] == ["running", "finished"]
        fractions = [one.running.progress.fraction for one in world.room.seen if one.HasField("running")]
        assert fractions == sorted(fractions)
        assert fractions[-1] > 0


async def test_finished_run_is_reported_until_it_is_no_longer_desired(world: World) -> None:
    world.room.forget_finished = False
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        key = world.room.assign(saved(), runner=backend.url)
        await world.room.until_finished(key)
        second = world.room.assign(saved(), runner=backend.url)
        await world.room.until_finished(second)
        assert world.room.current is not None
        assert {one.run_id for one in world.room.current.executions} == {key[0], second[0]}
        world.room.drop(key)
        third = world.room.assign(saved(), runner=backend.url)
        await world.room.until_finished(third)
        assert {one.run_id for one in world.room.current.executions} == {second[0], third[0]}


async def test_input_files_are_read_with_the_executions_token(world: World) -> None:
    world.files.tokens = {"token-of-the-run"}
    picture = _png()
    file_id = world.files.add(picture)
    graph: Graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "placeholder.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    wanted = run_queue_pb2.ExecutionInput(
        node_id="1",
        path="image",
        file_id=file_id,
        sha256=hashlib.sha256(picture).hexdigest(),
        size_bytes=len(picture),
        file_name="a.png",
    )
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        key = world.room.assign(graph, runner=backend.url, inputs=[wanted], file_token="token-of-the-run")
        state = await world.room.until_finished(key)
        assert state.finished.outcome == SUCCEEDED, state
        assert (state.staged_bytes, state.stage_total_bytes) == (len(picture), len(picture))


async def test_cancelled_run_is_interrupted_at_the_backend(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        key = world.room.assign(sleeping(30), runner=backend.url)
        await world.room.until(is_running(world.room, key))
        world.room.change(key, action=run_queue_pb2.ACTION_CANCEL)
        state = await world.room.until_finished(key)
        assert state.finished.outcome == run_queue_pb2.OUTCOME_INTERRUPTED
        assert state.finished.error.code == "CANCELLED"


async def test_run_that_executes_too_long_is_timed_out(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        left = run_queue_pb2.DesiredExecution().timeout_left
        left.FromMilliseconds(300)
        key = world.room.assign(sleeping(30), runner=backend.url, timeout_left=left)
        state = await world.room.until_finished(key)
        assert state.finished.outcome == run_queue_pb2.OUTCOME_TIMED_OUT


async def test_restarted_dispatcher_adopts_what_executes(world: World) -> None:
    async with world.backend("a") as backend:
        async with world.dispatcher(backend.url):
            await world.room.until_ready(backend.url)
            key = world.room.assign(sleeping(2.0), runner=backend.url)
            await world.room.until(is_running(world.room, key))
        async with world.dispatcher(backend.url):
            state = await world.room.until_finished(key)
        assert len(world.room.sessions) == 2
        assert state.finished.outcome == SUCCEEDED
        assert len(state.outputs) == 1
        assert len(await prompts_at(backend.url)) == 1


async def test_restarted_dispatcher_finds_what_ended_meanwhile(world: World) -> None:
    async with world.backend("a") as backend:
        async with world.dispatcher(backend.url):
            await world.room.until_ready(backend.url)
            key = world.room.assign(sleeping(0.5), runner=backend.url)
            await world.room.until(is_running(world.room, key))
        async with asyncio.timeout(10):
            while not any(prompt[3].get("comfyfleet") for prompt in await _ended_at(backend.url)):
                pass
        async with world.dispatcher(backend.url):
            state = await world.room.until_finished(key)
        assert state.finished.outcome == SUCCEEDED
        assert len(await prompts_at(backend.url)) == 1


async def test_prompt_without_desire_is_an_orphan_and_removed(world: World) -> None:
    async with world.backend("a") as backend:
        async with world.dispatcher(backend.url):
            await world.room.until_ready(backend.url)
            key = world.room.assign(sleeping(30), runner=backend.url)
            await world.room.until(is_running(world.room, key))
        world.room.drop(key)
        async with world.dispatcher(backend.url):
            await world.room.until(lambda: any(one.orphan and one.run_id == key[0] for one in world.room.seen))
            await world.room.until(lambda: world.room.current and not world.room.current.executions)
        async with aiohttp.ClientSession() as http, http.get(backend.url + "/queue") as response:
            assert (await response.json())["queue_running"] == []


async def test_run_no_longer_desired_is_stopped(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        key = world.room.assign(sleeping(30), runner=backend.url)
        await world.room.until(is_running(world.room, key))
        world.room.drop(key)
        await world.room.until(lambda: world.room.current and not world.room.current.executions)
        next_key = world.room.assign(saved(), runner=backend.url)
        assert (await world.room.until_finished(next_key)).finished.outcome == SUCCEEDED


async def test_backend_that_forgot_a_submitted_run_has_lost_it(world: World) -> None:
    port = free_port()
    async with AsyncExitStack() as first:
        backend = await first.enter_async_context(world.backend("a", port=port))
        async with world.dispatcher(backend.url):
            await world.room.until_ready(backend.url)
            incarnation = (await world.room.until_ready(backend.url)).backend_incarnation
            key = world.room.assign(sleeping(30), runner=backend.url)
            await world.room.until(is_running(world.room, key))
            await first.aclose()
            await world.room.until(lambda: (one := world.room.runner(backend.url)) and not one.recovered)
            async with world.backend("a", port=port):
                state = await world.room.until_finished(key)
                assert state.finished.outcome == LOST
                assert state.finished.error.code == "BACKEND_MEMORY"
                await world.room.until(
                    lambda: (one := world.room.runner(backend.url)) and one.backend_incarnation != incarnation
                )
                again = world.room.assign(saved(), runner=backend.url)
                assert (await world.room.until_finished(again)).finished.outcome == SUCCEEDED


async def test_unanswered_submission_is_looked_for_before_it_is_repeated(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        backend.turn(refuse_next_answers=1)
        key = world.room.assign(saved(), runner=backend.url)
        assert (await world.room.until_finished(key)).finished.outcome == SUCCEEDED
        assert len(await prompts_at(backend.url)) == 1


async def test_backend_that_is_down_at_start_is_used_when_it_comes(world: World) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with world.dispatcher(url):
        runner = await world.room.until(lambda: world.room.runner(url))
        assert runner.health == runner_pb2.RUNNER_HEALTH_OFFLINE
        assert not runner.recovered
        key = world.room.assign(saved(), runner=url)
        async with world.backend("a", port=port):
            assert (await world.room.until_finished(key)).finished.outcome == SUCCEEDED


@pytest.mark.parametrize("answer", [b"no json", b"[]", b"{}", b'{"system": [], "devices": 7}', b"[" * 100_000])
async def test_backend_that_talks_nonsense_harms_no_other(world: World, answer: bytes) -> None:
    async def say(_request: web.Request) -> web.Response:
        return web.Response(body=answer)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", say)
    async with TestServer(application) as nonsense, world.backend("a") as backend:
        strange = str(nonsense.make_url("")).rstrip("/")
        async with world.dispatcher(strange, backend.url):
            await world.room.until_ready(backend.url)
            unhealthy = runner_pb2.RUNNER_HEALTH_UNHEALTHY
            await world.room.until(lambda: (one := world.room.runner(strange)) and one.health == unhealthy)
            key = world.room.assign(saved(), runner=backend.url)
            assert (await world.room.until_finished(key)).finished.outcome == SUCCEEDED


async def test_several_backends_execute_side_by_side(world: World) -> None:
    async with world.backend("a") as one, world.backend("b") as two, world.dispatcher(one.url, two.url):
        for backend in (one, two):
            await world.room.until_ready(backend.url)
        keys = {backend.url: world.room.assign(sleeping(1.0), runner=backend.url) for backend in (one, two)}
        for key in keys.values():
            await world.room.until(is_running(world.room, key))
        for url, key in keys.items():
            assert (await world.room.until_finished(key)).finished.outcome == SUCCEEDED
            assert len(await prompts_at(url)) == 1


async def test_registered_backend_is_driven_and_left(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher():
        world.room.endpoints["registered"] = backend.url
        world.room.bump()
        await world.room.until_ready("registered")
        key = world.room.assign(saved(), runner="registered")
        assert (await world.room.until_finished(key)).finished.outcome == SUCCEEDED
        world.room.endpoints.clear()
        world.room.bump()


async def test_second_run_waits_at_the_dispatcher_while_its_length_is_unknown(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        first = world.room.assign(sleeping(0.5), runner=backend.url)
        second = world.room.assign(saved(), runner=backend.url)
        await world.room.until(is_running(world.room, first))
        assert len(await prompts_at(backend.url)) == 1
        assert (await world.room.until_finished(second)).finished.outcome == SUCCEEDED
        assert first in world.room.finished


async def test_recalled_run_is_handed_back_and_the_executing_one_goes_on(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        first = world.room.assign(sleeping(1.0), runner=backend.url)
        second = world.room.assign(saved(), runner=backend.url)
        await world.room.until(is_running(world.room, first))
        world.room.change(first, action=run_queue_pb2.ACTION_RECALL)
        world.room.change(second, action=run_queue_pb2.ACTION_RECALL)
        assert (await world.room.until_finished(second)).finished.outcome == run_queue_pb2.OUTCOME_RECALLED
        assert (await world.room.until_finished(first)).finished.outcome == SUCCEEDED


async def test_staged_run_is_not_submitted_before_it_may(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        key = world.room.assign(saved(), runner=backend.url, action=run_queue_pb2.ACTION_STAGE)
        await world.room.until(lambda: "waiting" in world.room.phases(key))
        assert await prompts_at(backend.url) == []
        world.room.change(key, action=run_queue_pb2.ACTION_RUN)
        assert (await world.room.until_finished(key)).finished.outcome == SUCCEEDED


async def test_draining_dispatcher_hands_back_what_waits_and_ends_what_executes(world: World) -> None:
    async with world.backend("a") as backend:
        async with world.dispatcher(backend.url, grace=timedelta(seconds=10)):
            await world.room.until_ready(backend.url)
            first = world.room.assign(sleeping(1.0), runner=backend.url)
            second = world.room.assign(saved(), runner=backend.url)
            await world.room.until(is_running(world.room, first))
        assert world.room.finished[first].finished.outcome == SUCCEEDED
        assert world.room.finished[second].finished.outcome == run_queue_pb2.OUTCOME_HANDED_BACK
        assert world.room.current is not None
        assert world.room.current.draining


async def test_runner_that_is_taken_out_hands_back_what_waits_and_ends_what_executes(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        first = world.room.assign(sleeping(1.0), runner=backend.url)
        second = world.room.assign(saved(), runner=backend.url)
        await world.room.until(is_running(world.room, first))
        world.room.disabled.add(backend.url)
        world.room.bump()
        assert (await world.room.until_finished(second)).finished.outcome == run_queue_pb2.OUTCOME_HANDED_BACK
        assert (await world.room.until_finished(first)).finished.outcome == SUCCEEDED
        assert len(await prompts_at(backend.url)) == 1


async def test_dispatcher_that_is_told_to_drain_takes_nothing_new(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        first = world.room.assign(sleeping(1.0), runner=backend.url)
        await world.room.until(is_running(world.room, first))
        world.room.drain = True
        second = world.room.assign(saved(), runner=backend.url)
        assert (await world.room.until_finished(second)).finished.outcome == run_queue_pb2.OUTCOME_HANDED_BACK
        assert (await world.room.until_finished(first)).finished.outcome == SUCCEEDED


async def test_lower_version_is_ignored(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        key = world.room.assign(sleeping(1.0), runner=backend.url)
        await world.room.until(is_running(world.room, key))
        held, version = world.room.desired, world.room.version
        world.room.desired, world.room.version = {}, version - 2
        world.room.bump()
        await world.room.until(lambda: world.room.told_versions[-1] == version - 1)
        world.room.desired, world.room.version = held, version
        assert (await world.room.until_finished(key)).finished.outcome == SUCCEEDED


async def test_output_that_vanished_is_made_again(world: World) -> None:
    """A12: the cached picture's file is gone; the run is tried once more under another salt and succeeds."""
    graph = saved()
    graph["2"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        first = world.room.assign(graph, runner=backend.url, cache_salt="same")
        await world.room.until_finished(first)
        for file in (world.folder / "a" / "temp").rglob("*.png"):
            file.unlink()
        second = world.room.assign(graph, runner=backend.url, cache_salt="same")
        state = await world.room.until_finished(second)
        assert state.finished.outcome == SUCCEEDED, state
        assert len(state.outputs) == 1
        assert len(world.files.outputs_of(second[0])) == 1


async def test_frames_that_are_held_back_cost_time_and_no_run(world: World) -> None:
    """The socket is silent: the end is found in the queue and the history."""
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        backend.turn(stall_frames=True)
        key = world.room.assign(saved(), runner=backend.url)
        state = await world.room.until_finished(key)
        backend.turn(stall_frames=False)
        assert state.finished.outcome == SUCCEEDED
        assert len(state.outputs) == 1


async def test_previews_are_published_while_they_are_wanted(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        key = world.room.assign(sampling(), runner=backend.url, preview=True)
        state = await world.room.until_finished(key)
        assert state.finished.outcome == SUCCEEDED, state
        await world.room.until(lambda: world.room.previews)
        frame = world.room.previews[0]
        assert (frame.run_id, frame.attempt, frame.node_id) == (key[0], 1, "3")
        assert frame.media_type == "image/jpeg"
        assert frame.image.startswith(b"\xff\xd8")


async def test_stream_that_breaks_stops_nothing(world: World) -> None:
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(world.backend("a"))
        proxy = await stack.enter_async_context(open_run_room())
        settings = world.settings(backend.url).model_copy(update={"run_address": proxy.address})
        await stack.enter_async_context(open_dispatcher(settings=settings, drain_grace=AT_ONCE))
        await proxy.until_ready(backend.url)
        key = proxy.assign(sleeping(1.5), runner=backend.url)
        await proxy.until(is_running(proxy, key))
        await proxy.hang_up()
        state = await proxy.until_finished(key)
        assert state.finished.outcome == SUCCEEDED
        assert len(proxy.sessions) == 1
        assert len(await prompts_at(backend.url)) == 1


async def test_local_door_knows_the_dispatchers_secret_only(world: World) -> None:
    async with (
        world.backend("a") as backend,
        world.dispatcher(backend.url) as server,
        open_channel(server.address) as channel,
    ):
        await world.room.until_ready(backend.url)
        stub = dispatcher_pb2_grpc.DispatcherServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetStatus(dispatcher_pb2.GetStatusRequest(), metadata=bearer("ak-another"), timeout=5)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        status = await stub.GetStatus(dispatcher_pb2.GetStatusRequest(), metadata=bearer(SECRET), timeout=5)
        assert status.connected
        assert status.backend_count == 1
        listed = await stub.ListBackends(dispatcher_pb2.ListBackendsRequest(), metadata=bearer(SECRET), timeout=5)
        (one,) = listed.backends
        assert (one.url, one.healthy, one.recovered) == (backend.url, True, True)


async def test_local_watcher_gets_the_backends_own_messages(world: World) -> None:
    async with (
        world.backend("a") as backend,
        world.dispatcher(backend.url) as server,
        open_channel(server.address) as channel,
    ):
        await world.room.until_ready(backend.url)
        stub = dispatcher_pb2_grpc.DispatcherServiceStub(channel)
        key = world.room.assign(sleeping(0.8), runner=backend.url)
        await world.room.until(is_running(world.room, key))
        request = dispatcher_pb2.WatchExecutionRequest(run_id=key[0])
        kinds = [
            json.loads(message.message_json)["type"]
            async for message in stub.WatchExecution(request, metadata=bearer(SECRET), timeout=20)
        ]
        assert "execution_success" in kinds
        with pytest.raises(grpc.aio.AioRpcError) as missing:
            async for _ in stub.WatchExecution(
                dispatcher_pb2.WatchExecutionRequest(run_id="nobody"), metadata=bearer(SECRET), timeout=20
            ):
                pass
        assert missing.value.code() is grpc.StatusCode.NOT_FOUND


async def test_prompts_carry_the_fleets_name(world: World) -> None:
    async with world.backend("a") as backend, world.dispatcher(backend.url):
        await world.room.until_ready(backend.url)
        key = world.room.assign(saved(), runner=backend.url)
        await world.room.until_finished(key)
        (prompt,) = await prompts_at(backend.url)
        assert prompt[3]["comfyfleet"] == {"fleet": FLEET, "run_id": key[0], "attempt": 1}


async def test_dispatcher_keeps_its_name(world: World) -> None:
    names = []
    for session in (1, 2):
        async with world.dispatcher():
            await world.room.until(partial(_has_sessions, world.room, session))
            assert world.room.current is not None
            names.append(world.room.current.dispatcher_id)
    assert names[0] == names[1]


def sampling() -> Graph:
    """A picture in steps, of nodes that the stand-in draws."""
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "a house"}},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0],
                "positive": ["2", 0],
                "negative": ["2", 0],
                "latent_image": ["4", 0],
                "seed": 2**64 - 1,
                "steps": 8,
                "cfg": 7.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1.0,
            },
        },
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}},
    }


def _has_sessions(room: ScriptedRunRoom, count: int) -> bool:
    return len(room.sessions) == count


async def _ended_at(url: str) -> list[Any]:
    async with aiohttp.ClientSession() as http, http.get(url + "/history") as response:
        return [entry["prompt"] for entry in (await response.json()).values()]


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(buffer, "PNG")
    return buffer.getvalue()
