"""A long run outlives its dispatcher, at the stand-in always and for a minute at a real ComfyUI at COMFYUI_URL."""

import asyncio
import json
import os
import signal
import urllib.request
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from comfyfleet.run.v1 import run_pb2

from services.cli.connection import open_client
from services.cli.supervisor.machine import APART, Machine, MachinePlan, open_machine
from tests.chaos.load import Load
from tests.journey.graphs import picture_graph
from tests.journey.installation import standin
from tests.servers.eventually import eventually


@dataclass(frozen=True, kw_only=True)
class Site:
    """A backend, and how it naps."""

    url: str
    sleep_class: str
    seconds: float
    kills: int


@pytest_asyncio.fixture(params=["standin", "comfyui"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """A backend, freshly made where it is ours."""
    with ExitStack() as stack:
        if request.param == "comfyui":
            real = os.environ.get("COMFYUI_URL")
            if not real:
                pytest.skip("COMFYUI_URL names no real ComfyUI")
            yield Site(url=real, sleep_class="TestSleep", seconds=60, kills=2)
        else:
            url = stack.enter_context(standin(tmp_path / "backend"))
            yield Site(url=url, sleep_class="StandinSleepBeside", seconds=8, kills=1)


@pytest.mark.timeout(180)
async def test_long_run_is_submitted_once_though_its_dispatcher_is_killed(tmp_path: Path, site: Site) -> None:
    plan = MachinePlan(
        state=tmp_path / "state", port=0, grpc_port=0, log_folder=tmp_path / "logs", processes=APART, comfyui=[site.url]
    )
    async with open_machine(plan) as machine, open_client(machine.connection) as channel:
        await machine.family.wait_ready()
        load = Load(channel, machine.connection)
        run_id = await load.create_of(_sleeping(site), "long")
        for _ in range(site.kills):
            assert await eventually(lambda: _is_running(site, run_id), within_seconds=30)
            await _kill_dispatcher(machine)
        run = await load.ended(run_id)
        second_id = await load.create_of(_sleeping(site, seconds=0.1), "after")
        assert (await load.ended(second_id)).state == run_pb2.RUN_STATE_SUCCEEDED
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.error
    assert (run.attempt, len(run.outputs)) == (1, 1)
    numbers = {_run_id_of(prompt): prompt[0] for prompt in await _ended(site)}
    # The backend counts submissions: had there been another one, there would be a number between the two.
    assert numbers[second_id] == numbers[run_id] + 1


def _run_id_of(prompt: list[Any]) -> str:
    """The run that a prompt of the history is of; empty for a stranger's."""
    run_id: str = prompt[3].get("comfyfleet", {}).get("run_id", "")
    return run_id


def _sleeping(site: Site, *, seconds: float = 0.0) -> dict[str, Any]:
    graph = picture_graph()
    source = graph["2"]["inputs"]["images"]
    nap = {"value": source, "seconds": seconds or site.seconds}
    graph["3"] = {"class_type": site.sleep_class, "inputs": nap}
    graph["2"]["inputs"]["images"] = ["3", 0]
    return graph


async def _kill_dispatcher(machine: Machine) -> None:
    (child,) = (child for child in machine.family.children if child.spec.name == "dispatcher")
    pid = child.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    async def replaced() -> bool:
        return child.pid != pid

    assert await eventually(replaced, within_seconds=30)
    await child.ready.wait()


async def _is_running(site: Site, run_id: str) -> bool:
    queue = await asyncio.to_thread(_read, site.url + "/queue")
    return any(_run_id_of(prompt) == run_id for prompt in queue["queue_running"])


async def _ended(site: Site) -> list[list[Any]]:
    history = await asyncio.to_thread(_read, site.url + "/history")
    return [entry["prompt"] for entry in history.values()]


def _read(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        content: dict[str, Any] = json.load(answer)
    return content
