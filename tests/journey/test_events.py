"""Event streams resume; facts between rooms act within a second."""

from typing import Any

import aiohttp

from tests.journey.client import Client
from tests.journey.graphs import photo, picture_graph, resize_graph, slow_nodes
from tests.servers.eventually import eventually


async def test_dropped_watcher_resumes_and_sees_every_event_once(client: Client) -> None:
    graph = {
        **slow_nodes(seconds=1.0, steps=10),
        **{str(int(node) + 10): _shifted(content) for node, content in picture_graph().items()},
    }
    status, run = await client.call("POST", "/v1/runs", json={"graph": graph})
    assert status == 201, run
    seen: list[int] = []
    cursor = 0
    for _ in range(200):  # one logged event a connection: the most drops there can be
        async for event in client.events("GET", f"/v1/runs/{run['id']}/events", headers={"last-event-id": str(cursor)}):
            if event.id is not None:
                cursor = int(event.id)
                seen.append(cursor)
                last = event
                break
        if last.name == "state_changed" and last.body["run"] is not None:
            break

    assert last.body["state"] == "SUCCEEDED"
    assert seen == list(range(1, len(seen) + 1)), "no gap and no repeat"


def _shifted(node: dict[str, Any]) -> dict[str, Any]:
    inputs = {
        name: [str(int(value[0]) + 10), value[1]] if isinstance(value, list) else value
        for name, value in node["inputs"].items()
    }
    return {**node, "inputs": inputs}


async def test_inputs_to_be_deleted_are_gone_within_a_second_of_the_end(client: Client) -> None:
    async with client.session.post(
        f"{client.url}/v1/files?file_name=me.jpg", data=photo(), headers={"content-type": "image/jpeg"}
    ) as answer:
        file = await answer.json()
        assert answer.status == 201, file
    slug = "fleeting"
    status, made = await client.call("POST", "/v1/workflows", json={"slug": slug, "graph": resize_graph()})
    assert status in (201, 409), made

    body = {"parameters": {"photo": file["id"]}, "delete_inputs_at_end": True}
    run = await client.ended(body, f"/v1/workflows/{slug}/runs")
    assert run["state"] == "SUCCEEDED", run["error"]

    async def gone() -> bool:
        status, _ = await client.call("GET", f"/v1/files/{file['id']}")
        return status == 404

    assert await eventually(gone, within_seconds=1.0)


async def test_revoked_key_is_refused_within_a_second(client: Client) -> None:
    status, made = await client.call(
        "POST", "/v1/credentials", json={"kind": "integration", "display_name": "short-lived"}
    )
    assert status == 201, made
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {made['secret']}"}) as session:
        other = Client(session, client.url)
        for path in ("/v1/runs", "/v1/files", "/v1/workflows"):
            status, page = await other.call("GET", path)
            assert status == 200, page
        status, _ = await client.call("POST", f"/v1/credentials/{made['id']}:revoke")
        assert status == 200

        async def refused() -> bool:
            answers = [await other.call("GET", path) for path in ("/v1/runs", "/v1/files", "/v1/workflows")]
            return all(status == 401 for status, _ in answers)

        assert await eventually(refused, within_seconds=1.0)
