"""Two teams share the fleet's runners and nothing else."""

import secrets
from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from tests.journey.client import Client
from tests.journey.graphs import photo, picture_graph, picture_size, resize_graph


@pytest_asyncio.fixture
async def stranger(client: Client) -> AsyncIterator[Client]:
    """A client of another team."""
    name = f"team-{secrets.token_hex(4)}"
    status, made = await client.call("POST", "/v1/teams", json={"name": name})
    assert status == 201, made
    body = {"kind": "integration", "display_name": "first", "team": name}
    status, key = await client.call("POST", "/v1/credentials", json=body)
    assert status == 201, key
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {key['secret']}"}) as session:
        yield Client(session, client.url)


async def test_second_team_runs_on_the_same_runner(client: Client, stranger: Client) -> None:
    mine = await client.ended({"graph": picture_graph()})
    theirs = await stranger.ended({"graph": picture_graph(width=20, height=10)})

    assert (mine["state"], theirs["state"]) == ("SUCCEEDED", "SUCCEEDED")
    assert mine["runner_id"] == theirs["runner_id"]
    assert picture_size(await stranger.output(theirs, "0")) == (20, 10)


async def test_everything_of_another_team_is_not_found(client: Client, stranger: Client) -> None:
    slug = f"own-{secrets.token_hex(4)}"
    status, workflow = await client.call("POST", "/v1/workflows", json={"slug": slug, "graph": resize_graph()})
    assert status == 201, workflow
    async with client.session.post(f"{client.url}/v1/files?file_name=me.jpg", data=photo()) as answer:
        file = await answer.json()
    run = await client.ended({"parameters": {"photo": file["id"]}}, f"/v1/workflows/{slug}/runs")
    assert run["state"] == "SUCCEEDED", run["error"]

    hidden = [
        ("GET", f"/v1/workflows/{workflow['id']}"),
        ("GET", f"/v1/runs/{run['id']}"),
        ("GET", f"/v1/runs/{run['id']}/events"),
        ("GET", f"/v1/runs/{run['id']}/outputs/0"),
        ("POST", f"/v1/runs/{run['id']}:cancel"),
        ("GET", f"/v1/files/{file['id']}"),
        ("GET", f"/v1/files/{file['id']}/content"),
        ("DELETE", f"/v1/files/{file['id']}"),
        ("DELETE", f"/v1/workflows/{workflow['id']}"),
    ]
    for method, path in hidden:
        status, problem = await stranger.call(method, path)
        assert status == 404, (method, path, problem)


async def test_file_of_another_team_in_a_parameter_is_like_one_that_does_not_exist(
    client: Client, stranger: Client
) -> None:
    async with client.session.post(f"{client.url}/v1/files?file_name=me.jpg", data=photo()) as answer:
        file = await answer.json()
    status, made = await stranger.call("POST", "/v1/workflows", json={"slug": "mine", "graph": resize_graph()})
    assert status == 201, made

    problems = []
    for file_id in (file["id"], "019300a0-0000-7000-8000-000000000000"):
        status, problem = await stranger.call(
            "POST", "/v1/workflows/mine/runs", json={"parameters": {"photo": file_id}}
        )
        assert status == 400, problem
        problems.append(
            [
                (entry["field"], entry["reason"], entry["message"].replace(file_id, "ID"))
                for entry in problem["violations"]
            ]
        )
    assert problems[0] == problems[1]
