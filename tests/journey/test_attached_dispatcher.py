"""A team's own dispatcher, attached from elsewhere with its `ak-` through the one public gRPC address."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.journey.client import Client
from tests.journey.graphs import photo, picture_graph, picture_size, resize_graph
from tests.journey.installation import Installation, standin
from tests.servers.eventually import eventually


@contextlib.contextmanager
def attached(fleet: Installation, *, secret: str, backend: str, folder: Path) -> Iterator[None]:
    """`comfyfleet serve dispatcher` that knows the public address, its key and its backend; it must end with 0."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COMFYFLEET_")}
    environment |= {
        "COMFYFLEET_STATE_DIR": str(folder),
        "COMFYFLEET_AGENT_SECRET": secret,
        "COMFYFLEET_RUN_ADDRESS": fleet.grpc,
        "COMFYFLEET_COMFYUI_URLS": json.dumps([backend]),
        "COMFYFLEET_RUNNER_TAGS": json.dumps(["own"]),
    }
    log = folder.with_suffix(".log")
    with log.open("w", encoding="utf-8") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.cli", "serve", "dispatcher"], stdout=sink, stderr=sink, env=environment
        )
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0, log.read_text()[-4000:]
    finally:
        process.kill()
        process.wait()


@pytest_asyncio.fixture
async def team(client: Client) -> str:
    """Name of a new team."""
    name = f"team-{secrets.token_hex(4)}"
    status, made = await client.call("POST", "/v1/teams", json={"name": name})
    assert status == 201, made
    return name


async def new_key(client: Client, team: str, kind: str) -> str:
    """Secret of a new key of the team."""
    body = {"kind": kind, "display_name": "for a test", "team": team}
    status, key = await client.call("POST", "/v1/credentials", json=body)
    assert status == 201, key
    return str(key["secret"])


@pytest_asyncio.fixture
async def member(client: Client, team: str) -> AsyncIterator[Client]:
    """A client of the new team."""
    secret = await new_key(client, team, "integration")
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {secret}"}) as session:
        yield Client(session, client.url)


async def test_teams_own_dispatcher_serves_its_team_alone(
    fleet: Installation, client: Client, member: Client, team: str, tmp_path: Path
) -> None:
    secret = await new_key(client, team, "agent")

    async def scopes(of: Client) -> list[str]:
        _, page = await of.call("GET", "/v1/runners")
        return sorted(runner["scope"] for runner in page["runners"] if runner["health"] == "healthy")

    async def both() -> bool:
        return await scopes(member) == ["fleet", "team"]

    with (
        standin(tmp_path / "backend") as backend,
        attached(fleet, secret=secret, backend=backend, folder=tmp_path / "elsewhere"),
    ):
        assert await eventually(both, within_seconds=40)
        assert await scopes(client) == ["fleet"]

        async with member.session.post(f"{member.url}/v1/files?file_name=me.jpg", data=photo()) as answer:
            file = await answer.json()
        run = await member.ended(
            {"graph": resize_graph(), "parameters": {"photo": file["id"]}, "tags": ["own"], "require_runner": True}
        )
        assert run["state"] == "SUCCEEDED", run["error"]
        assert picture_size(await member.output(run, "0")) == (32, 16)

        status, problem = await client.call(
            "POST", "/v1/runs", json={"graph": picture_graph(), "tags": ["own"], "require_runner": True}
        )
        assert (status, problem["reason"]) == (412, "NO_RUNNER")


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/files", "/v1/workflows", "/v1/runners", "/v1/credentials"])
async def test_dispatchers_key_by_itself_reads_nothing(client: Client, team: str, path: str) -> None:
    secret = await new_key(client, team, "agent")
    status, problem = await client.call("GET", path, headers={"authorization": f"Bearer {secret}"})
    assert status == 403, problem
