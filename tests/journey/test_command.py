"""The `comfyfleet` command as people and scripts use it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.journey.graphs import photo, picture_size, resize_graph, slow_nodes
from tests.journey.installation import Installation, installation
from tests.servers.eventually import eventually
from tests.servers.ports import free_port

MISSING = "019300a0-0000-7000-8000-000000000000"


@dataclass(frozen=True, kw_only=True)
class Command:
    """Runs the command against one installation, in one folder."""

    environment: dict[str, str]
    folder: Path

    async def __call__(self, *words: str) -> tuple[int, str, str]:
        """Status, standard output, standard error."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "services.cli"),
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env=self.environment,
        )
        async with asyncio.timeout(60):
            output, notices = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(), notices.decode()

    async def documents(self, *words: str) -> list[dict[str, Any]]:
        """What it writes with --json, a document a line; it must end with status 0."""
        status, output, notices = await self(*words, "--json")
        assert status == 0, notices
        return [json.loads(line) for line in output.splitlines()]


@pytest.fixture
def command(fleet: Installation, tmp_path: Path) -> Command:
    """The command with the first key."""
    keys = {"COMFYFLEET_URL": fleet.url, "COMFYFLEET_GRPC": fleet.grpc, "COMFYFLEET_KEY": fleet.key}
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([root, str(Path(root) / "proto" / "gen")])
    return Command(environment={**os.environ, **keys, "PYTHONPATH": paths}, folder=tmp_path)


def write_graph(folder: Path, name: str, graph: dict[str, Any]) -> str:
    """A graph as a file; gives its name."""
    (folder / name).write_text(json.dumps(graph), encoding="utf-8")
    return name


async def test_workflow_is_pushed_shown_run_and_its_output_saved(command: Command) -> None:
    graph = write_graph(command.folder, "make_small.json", resize_graph())
    (command.folder / "me.jpg").write_bytes(photo())

    (pushed,) = await command.documents("workflow", "push", graph)
    assert (pushed["slug"], pushed["latest_version"]) == ("make-small", 1)
    (found,) = await command.documents("workflow", "discover", graph)
    assert "photo" in {parameter["key"] for parameter in found["parameters"]}
    assert "make-small" in {entry["slug"] for entry in await command.documents("workflow", "list")}
    (shown,) = await command.documents("workflow", "show", "make-small")
    assert shown["version"]["number"] == 1

    status, output, notices = await command("run", "make-small", "-p", "photo=@me.jpg", "--output", "out")
    assert status == 0, notices
    saved = command.folder / output.strip()
    assert picture_size(saved.read_bytes()) == (32, 16)


async def test_runs_are_listed_shown_watched_and_cancelled(command: Command) -> None:
    graph = write_graph(command.folder, "slow.json", slow_nodes(seconds=30.0, steps=300))
    (made,) = await command.documents("run", graph, "--no-wait")
    assert made["id"] in {entry["id"] for entry in await command.documents("runs", "list")}

    await command.documents("runs", "cancel", made["id"])
    events = await command.documents("runs", "watch", made["id"], "--after", "0")
    assert events[-1]["state_changed"]["state"] == "cancelled"
    (shown,) = await command.documents("runs", "show", made["id"])
    assert shown["state"] == "cancelled"


async def test_file_goes_in_and_comes_out_the_same(command: Command) -> None:
    content = os.urandom(700_000)
    (command.folder / "some.bin").write_bytes(content)
    (stored,) = await command.documents("file", "put", "some.bin")
    await command.documents("file", "get", stored["id"], "--output", "back.bin")
    assert (command.folder / "back.bin").read_bytes() == content


async def test_keys_are_made_listed_and_revoked(command: Command) -> None:
    (made,) = await command.documents("key", "create", "for a script", "--scope", "runs:read")
    listed = {entry["id"]: entry for entry in await command.documents("key", "list")}
    assert listed[made["credential"]["id"]]["scopes"] == ["runs:read"]
    (revoked,) = await command.documents("key", "revoke", made["credential"]["id"])
    assert revoked["revoke_time"]


async def test_runners_are_listed(command: Command) -> None:
    (runner,) = await command.documents("runner", "list")
    assert (runner["health"], runner["scope"]) == ("healthy", "fleet")


@pytest.mark.parametrize(
    ("words", "changed", "status"),
    [
        (("runs", "show", MISSING), {}, 3),
        (("workflow", "show", "no-such-thing"), {}, 3),
        (("run", "no-such-thing"), {}, 3),
        (("runs", "list"), {"COMFYFLEET_KEY": "sk-wrong_wrong"}, 4),
        (("runs", "list"), {"COMFYFLEET_GRPC": "127.0.0.1:1"}, 5),
        (("runs", "list", "--filter", "state ="), {}, 2),
        (("run", "x", "-p", "novalue"), {}, 2),
        (("nonsense",), {}, 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
async def test_exit_status_says_what_went_wrong(
    command: Command, words: tuple[str, ...], changed: dict[str, str], status: int
) -> None:
    changed_command = Command(environment={**command.environment, **changed}, folder=command.folder)
    ended, _, notices = await changed_command(*words)
    assert ended == status, notices
    assert notices
    assert "Traceback" not in notices


async def test_run_that_fails_ends_with_status_one_and_names_the_node(command: Command) -> None:
    graph = {
        "1": {"class_type": "StandinFail", "inputs": {"value": 1, "kind": "runtime", "message": "no such luck"}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }
    status, _, notices = await command("run", write_graph(command.folder, "fail.json", graph))
    assert status == 1
    assert "no such luck" in notices


async def test_refusal_names_each_thing_once_and_shows_no_bar(command: Command) -> None:
    graph = write_graph(command.folder, "refusing.json", resize_graph())
    await command.documents("workflow", "push", graph)
    status, output, notices = await command("run", "refusing", "-p", "[/b]=1", "-p", "colour=2")
    assert (status, output) == (2, "")
    told = sorted(line.partition(":")[0] for line in notices.splitlines())
    assert told == ["parameters.[/b]", "parameters.colour", "parameters.photo"]


async def test_tables_keep_ids_whole_and_names_as_they_are(command: Command) -> None:
    graph = write_graph(command.folder, "Make it SMALL!.json", resize_graph())
    (pushed,) = await command.documents("workflow", "push", graph, "--name", "[/red] small")
    assert pushed["slug"] == "make-it-small"
    narrow = Command(environment={**command.environment, "COLUMNS": "40"}, folder=command.folder)
    status, output, notices = await narrow("workflow", "list")
    assert status == 0, notices
    (line,) = [line for line in output.splitlines() if line.startswith("make-it-small@")]
    assert "[/red] small" in line
    assert line.endswith(pushed["id"])

    await command.documents("workflow", "push", graph, "--name", "Smaller")
    (shown,) = await command.documents("workflow", "show", "make-it-small")
    assert shown["display_name"] == "Smaller"


async def test_interrupted_watcher_is_told_how_to_go_on(command: Command) -> None:
    graph = write_graph(command.folder, "long.json", slow_nodes(seconds=60.0, steps=60))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli", "run", graph, "--request-id", os.urandom(8).hex(), "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=command.folder,
        env=command.environment,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        first = json.loads(await process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, notices = await process.communicate()
    assert process.returncode == 130, notices
    assert f"comfyfleet runs cancel {first['run_id']}" in notices.decode()
    (shown,) = await command.documents("runs", "show", first["run_id"])
    assert shown["state"] in ("queued", "dispatched", "running")
    await command.documents("runs", "cancel", first["run_id"])


def test_up_goes_on_with_its_state_and_its_children_end_with_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with installation(state) as first:
        key = first.key
    with installation(state) as second:
        assert second.key == key


async def test_children_end_when_up_is_killed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli", "up", "--state", str(state), "--port", str(free_port())),
        *("--grpc-port", str(free_port()), "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert await process.stdout.readline()
    children = _children(process.pid)
    assert len(children) == 3
    process.send_signal(signal.SIGKILL)
    await process.wait()

    async def gone() -> bool:
        return not any(_alive(pid) for pid in children)

    assert await eventually(gone, within_seconds=20)
    with installation(state) as again:
        assert again.key


def _children(parent: int) -> list[int]:
    listing = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=True)
    return [int(pid) for pid in listing.stdout.split()]


def _alive(pid: int) -> bool:
    """Whether the process runs; one that only waits for its parent's notice does not."""
    listing = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state = listing.stdout.strip()
    return bool(state) and not state.startswith("Z")
