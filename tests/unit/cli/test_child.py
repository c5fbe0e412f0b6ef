"""A child process is started again when it dies, and given up when that does not help."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from services.cli.supervisor.child import Child, ChildGaveUp, ChildSpec
from services.cli.supervisor.family import open_family
from services.cli.supervisor.ports import free_ports, is_free
from tests.servers.eventually import eventually

READY_THEN_WAIT = """
import os, sys
os.write(int(os.environ["COMFYFLEET_READY_FD"]), b"ready")
sys.stdin.read()
"""
DEADLINE_SECONDS = 20


def spec(tmp_path: Path, program: str, name: str = "child") -> ChildSpec:
    return ChildSpec(name=name, argv=[sys.executable, "-c", program], log=tmp_path / f"{name}.log", grace_seconds=5)


async def test_child_that_dies_five_times_in_a_minute_is_given_up(tmp_path: Path) -> None:
    child = Child(spec(tmp_path, "raise SystemExit(3)"))
    async with asyncio.timeout(DEADLINE_SECONDS):
        with pytest.raises(ChildGaveUp, match="child died 5 times in a minute, last with status 3"):
            await child.run()


async def test_killed_child_is_started_again_and_becomes_ready(tmp_path: Path) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS), open_family([spec(tmp_path, READY_THEN_WAIT)]) as family:
        await family.wait_ready()
        (child,) = family.children
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)

        async def replaced() -> bool:
            return child.pid != first

        assert await eventually(replaced, within_seconds=DEADLINE_SECONDS)
        await child.ready.wait()


async def test_family_ends_its_children_when_the_block_ends(tmp_path: Path) -> None:
    specs = [spec(tmp_path, READY_THEN_WAIT, name) for name in ("one", "two")]
    async with asyncio.timeout(DEADLINE_SECONDS):
        async with open_family(specs) as family:
            await family.wait_ready()
            pids = [child.pid for child in family.children]
        for pid in pids:
            assert pid is not None
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


async def test_block_is_cancelled_when_a_child_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            open_family([spec(tmp_path, READY_THEN_WAIT, "good"), spec(tmp_path, "raise SystemExit(1)", "bad")]),
        ):
            await asyncio.Event().wait()
    assert caught.group_contains(ChildGaveUp)


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(is_free(port) for port in ports)
