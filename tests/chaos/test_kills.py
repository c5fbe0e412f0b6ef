"""SIGKILL of every member while runs execute: all end, exactly once, with their outputs."""

import asyncio
import hashlib
import json
import os
import signal
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from comfyfleet.run.v1 import run_event_pb2, run_pb2

from services.cli.connection import open_client
from services.cli.following import TERMINAL_STATES
from services.cli.supervisor.machine import APART, FRONT_AND_BACK, Machine, MachinePlan, open_machine
from tests.chaos.load import Load
from tests.journey.graphs import picture_size
from tests.journey.installation import standin
from tests.servers.eventually import eventually

RUNS = 200
SLEEP_SECONDS = 0.05
AT_A_TIME = 20


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("processes", "victims"),
    [(APART, ("dispatcher", "run", "nats")), (FRONT_AND_BACK, ("front", "back"))],
    ids=["members apart", "front and back"],
)
async def test_every_run_survives_sigkill_of(
    tmp_path: Path, processes: Mapping[str, Sequence[str]], victims: Sequence[str]
) -> None:
    plan = MachinePlan(state=tmp_path / "state", port=0, grpc_port=0, log_folder=tmp_path / "logs", processes=processes)
    with standin(tmp_path / "backend") as backend:
        plan = MachinePlan(**{**vars(plan), "comfyui": [backend]})
        async with open_machine(plan) as machine, open_client(machine.connection) as channel:
            await machine.family.wait_ready()
            load = Load(channel, machine.connection)
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(_runs_of(load))
                tasks.create_task(_kill_in_turn(machine, victims, backend))
            await _check(load, following.result(), _history(backend))


async def _runs_of(load: Load) -> list[run_pb2.Run]:
    gate = asyncio.Semaphore(AT_A_TIME)

    async def one(number: int) -> str:
        async with gate:
            return await load.create(f"kill-{number}", sleep_seconds=SLEEP_SECONDS)

    ids = await asyncio.gather(*(one(number) for number in range(RUNS)))
    assert len(set(ids)) == RUNS
    return list(await asyncio.gather(*(load.ended(run_id) for run_id in ids)))


async def _kill_in_turn(machine: Machine, victims: Sequence[str], backend: str) -> None:
    """Kills each once, when another share of the runs has been executed; each is started again by itself."""
    children = {child.spec.name: child for child in machine.family.children}
    for place, name in enumerate(victims, start=1):
        share = RUNS * place // (len(victims) + 1) // 2

        async def executed(share: int = share) -> bool:
            return len(await asyncio.to_thread(_history, backend)) >= share

        assert await eventually(executed, within_seconds=120)
        pid = children[name].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

        async def replaced(name: str = name, pid: int = pid) -> bool:
            return children[name].pid != pid

        assert await eventually(replaced, within_seconds=30)
        await children[name].ready.wait()


def _history(backend: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{backend}/history", timeout=10) as answer:
        history: dict[str, Any] = json.load(answer)
    return history


async def _check(load: Load, runs: Sequence[run_pb2.Run], history: dict[str, Any]) -> None:
    assert Counter(run.state for run in runs) == {run_pb2.RUN_STATE_SUCCEEDED: RUNS}, [
        run.error for run in runs if run.error.code
    ]
    for run in runs:
        _check_log(run, await load.event_log(run.id))
        assert sorted(output.node_id for output in run.outputs) == ["2", "9"]
        for output in run.outputs:
            content = await load.content(output.file_id)
            assert hashlib.sha256(content).hexdigest() == output.sha256
            assert output.node_id == "9" or picture_size(content) == (64, 48)
    executed = Counter(entry["prompt"][3]["comfyfleet"]["run_id"] for entry in history.values())
    assert set(executed) == {run.id for run in runs}
    assert set(executed.values()) == {1}, "the backend lived on: nothing had to be executed twice"
    # The backend counts submissions from 0; one that came twice under the same id would have a number of its own.
    assert max(entry["prompt"][0] for entry in history.values()) + 1 == len(history), "a prompt was submitted twice"


def _check_log(run: run_pb2.Run, events: Sequence[run_event_pb2.RunEvent]) -> None:
    assert [event.sequence for event in events] == list(range(1, run.sequence + 1))
    ends = [event for event in events if event.state_changed.state in TERMINAL_STATES]
    assert len(ends) == 1
    assert events[-1] == ends[0]
