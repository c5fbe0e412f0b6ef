"""Runs by REST, in front of scripted rooms."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio
from comfyfleet.run.v1 import run_event_pb2, run_pb2
from yarl import URL

from services.common.errors import InvalidArgument, ResourceExhausted, Violation
from tests.rpc.gateway_rig import Rig, events, frames, open_rig

BIG = 18446744073709551615


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    async with open_rig() as made:
        yield made


async def test_created_run_carries_exact_integers_and_what_the_door_knows(rig: Rig) -> None:
    body = {"workflow": "art/colour@3", "parameters": {"seed": BIG}, "timeout": "90.5s", "labels": {"a": "b"}}
    headers = {"idempotency-key": "again", "x-request-id": "mine", "x-api-key": "sk-2"}
    async with rig.http.post(f"{rig.url}/v1/runs", json=body, headers=headers) as response:
        assert response.status == 201
        assert response.headers["x-request-id"] == "mine"
        made = await response.json()
    assert made["id"] == rig.rooms.runs.run.id
    assert response.headers["location"] == f"{rig.url}/v1/runs/{made['id']}"
    asked = rig.rooms.runs.created[0]
    assert asked.workflow == "art/colour@3"
    assert asked.parameters_json == b'{"seed":18446744073709551615}'
    assert (asked.timeout.seconds, asked.timeout.nanos) == (90, 500_000_000)
    assert (asked.request_id, asked.origin, asked.public_url) == ("again", "rest", rig.url)
    seen = rig.rooms.runs.metadata
    assert (seen["authorization"], seen["x-api-key"], seen["x-request-id"]) == ("Bearer sk-test", "sk-2", "mine")


async def test_run_of_a_team_s_workflow_takes_the_reference_from_the_route(rig: Rig) -> None:
    async with rig.http.post(f"{rig.url}/v1/workflows/art/colour@2/runs", json={}) as response:
        assert response.status == 201
    assert rig.rooms.runs.created[0].workflow == "art/colour@2"


async def test_everything_wrong_with_a_body_is_named_at_once(rig: Rig) -> None:
    body = {"workflow": 3, "parameters": [], "timeout": "soon", "surprise": 1, "priority": 2**40}
    async with rig.http.post(f"{rig.url}/v1/runs", json=body) as response:
        assert response.status == 400
        assert response.content_type == "application/problem+json"
        problem = await response.json()
    assert {one["field"] for one in problem["violations"]} == set(body)
    assert problem["reason"] == "INVALID_FIELDS"
    assert problem["request_id"] == response.headers["x-request-id"]


async def test_violations_of_a_room_have_the_caller_s_names(rig: Rig) -> None:
    violations = [Violation("graph_json.6", "UNKNOWN", "No."), Violation("parameters.seed", "OUT_OF_RANGE", "No.")]
    rig.rooms.runs.refusal = InvalidArgument(violations=violations)
    async with rig.http.post(f"{rig.url}/v1/runs", json={"graph": []}) as response:
        assert response.status == 400
        problem = await response.json()
    assert [one["field"] for one in problem["violations"]] == ["graph.6", "parameters.seed"]
    assert rig.rooms.runs.created[0].graph_json == b"[]"


async def test_hostile_json_is_refused_before_any_room_is_asked(rig: Rig) -> None:
    bodies = [
        b"{",
        b'{"graph": NaN}',
        b'{"graph": 1e999}',
        b'{"graph": "\\ud800"}',
        b'{"graph": "\\u0000"}',
        b'{"graph": ' + b"[" * 100_000,
        b'{"graph": 1' + b"0" * 400 + b"}",
        b'{"graph": 1, "graph": 2}',
        b"\xff",
        b"[]",
        b"",
    ]
    for body in bodies:
        headers = {"content-type": "application/json"}
        async with rig.http.post(f"{rig.url}/v1/runs", data=body, headers=headers) as response:
            assert response.status == 400, body[:40]
            assert (await response.json())["violations"]
    assert rig.rooms.runs.created == []


async def test_a_limit_says_when_to_come_back(rig: Rig) -> None:
    rig.rooms.runs.refusal = ResourceExhausted("The queue is full.", reason="QUEUE_FULL")
    async with rig.http.post(f"{rig.url}/v1/runs", json={"graph": {}}) as response:
        assert response.status == 429
        assert response.headers["retry-after"] == "1"
        assert (await response.json())["reason"] == "QUEUE_FULL"


async def test_one_call_creates_and_watches_until_the_end(rig: Rig) -> None:
    runs = rig.rooms.runs
    await runs.append(state_changed=run_event_pb2.RunStateChange(state=run_pb2.RUN_STATE_QUEUED))
    async with rig.http.post(
        f"{rig.url}/v1/runs", json={"graph": {}}, headers={"accept": "text/event-stream"}
    ) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        assert response.headers["location"].endswith(runs.run.id)
        stream = events(response)
        assert (await anext(stream)).name == "snapshot"
        runs.run.outputs.add(name="picture", file_id="f", ordinal=0)
        await runs.append(output_added=runs.run.outputs[0])
        output = await anext(stream)
        assert (output.name, output.id) == ("output_added", "2")
        assert json.loads(output.data)["output"]["url"] == f"{rig.url}/v1/files/f/content"
        await runs.end()
        last = await anext(stream)
        assert json.loads(last.data)["run"]["outputs"][0]["name"] == "picture"
        assert [one async for one in stream] == []


async def test_refused_stream_is_a_problem_and_no_stream(rig: Rig) -> None:
    rig.rooms.runs.refusal = InvalidArgument(violations=[Violation("workflow", "UNKNOWN", "No.")])
    headers = {"accept": "text/event-stream"}
    async with rig.http.post(f"{rig.url}/v1/runs", json={"workflow": "x"}, headers=headers) as response:
        assert response.status == 400
        assert response.content_type == "application/problem+json"


async def test_stream_goes_on_from_the_last_event_seen(rig: Rig) -> None:
    runs = rig.rooms.runs
    for _ in range(4):
        await runs.append(cancel_requested=run_event_pb2.RunCancelRequest())
    await runs.end()
    url = f"{rig.url}/v1/runs/{runs.run.id}/events"
    async with rig.http.get(url, headers={"last-event-id": "2"}) as response:
        assert [one.id async for one in events(response)] == ["3", "4", "5"]
    async with rig.http.get(f"{url}?after_sequence=4") as response:
        assert [one.id async for one in events(response)] == ["5"]


async def test_stream_that_is_over_and_seen_is_204(rig: Rig) -> None:
    await rig.rooms.runs.end()
    url = f"{rig.url}/v1/runs/{rig.rooms.runs.run.id}/events"
    async with rig.http.get(url, headers={"last-event-id": "1"}) as response:
        assert response.status == 204


async def test_stream_of_an_unknown_run_is_404(rig: Rig) -> None:
    async with rig.http.get(f"{rig.url}/v1/runs/nobody/events") as response:
        assert response.status == 404
        assert (await response.json())["reason"] == "RUN_NOT_FOUND"
    async with rig.http.get(f"{rig.url}/v1/runs/nobody/events", headers={"last-event-id": "x"}) as response:
        assert response.status == 400


async def test_room_that_restarts_is_a_pause_for_a_watcher(rig: Rig) -> None:
    runs = rig.rooms.runs
    for _ in range(3):
        await runs.append(cancel_requested=run_event_pb2.RunCancelRequest())
    runs.drop_after = 1
    await runs.end()
    async with rig.http.get(f"{rig.url}/v1/runs/{runs.run.id}/events?after_sequence=0") as response:
        assert [one.id async for one in events(response)] == ["1", "2", "3", "4"]
    assert [one.after_sequence for one in runs.watched] == [0, 1]


async def test_silent_stream_shows_that_it_lives() -> None:
    async with open_rig(heartbeat=0.05) as rig:
        url = f"{rig.url}/v1/runs/{rig.rooms.runs.run.id}/events"
        async with rig.http.get(url) as response:
            stream = frames(response)
            assert await anext(stream) == "retry: 3000"
            assert "event: snapshot" in await anext(stream)
            assert await anext(stream) == ": heartbeat"


async def test_client_that_leaves_ends_the_room_s_stream(rig: Rig) -> None:
    runs = rig.rooms.runs
    response = await rig.http.get(f"{rig.url}/v1/runs/{runs.run.id}/events")
    assert (await anext(events(response))).name == "snapshot"
    response.close()
    async with asyncio.timeout(10):
        await runs.cancelled.wait()


async def test_previews_are_sent_on_demand_as_base64(rig: Rig) -> None:
    runs = rig.rooms.runs
    preview = run_event_pb2.RunPreview(attempt=1, media_type="image/jpeg", image=b"\xff\xd8", number=7)
    runs.log.append(run_event_pb2.RunEvent(run_id=runs.run.id, preview=preview))
    await runs.end()
    async with rig.http.get(f"{rig.url}/v1/runs/{runs.run.id}/events?after_sequence=0&previews=true") as response:
        first = await anext(events(response))
    assert runs.watched[0].previews
    assert first.id is None
    assert json.loads(first.data)["preview"] == {
        "attempt": 1,
        "node_id": None,
        "media_type": "image/jpeg",
        "number": 7,
        "image_base64": "/9g=",
    }


async def test_a_caller_who_waits_gets_the_run_at_its_end(rig: Rig) -> None:
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(_post_and_wait(rig))
        tasks.create_task(rig.rooms.runs.end())
    assert asked.result()["state"] == "SUCCEEDED"
    url = f"{rig.url}/v1/runs/{rig.rooms.runs.run.id}"
    async with rig.http.get(url, headers={"prefer": "wait=5"}) as response:
        assert response.headers["preference-applied"] == "wait=5"
        assert (await response.json())["state"] == "SUCCEEDED"


async def _post_and_wait(rig: Rig) -> dict[str, object]:
    async with rig.http.post(f"{rig.url}/v1/runs", json={"graph": {}}, headers={"prefer": "wait=20"}) as response:
        assert response.status == 201
        made: dict[str, object] = await response.json()
        return made


async def test_full_view_keeps_seeds_exact(rig: Rig) -> None:
    rig.rooms.runs.run.graph_json = b'{"3":{"inputs":{"seed":18446744073709551615}}}'
    async with rig.http.get(f"{rig.url}/v1/runs/{rig.rooms.runs.run.id}?view=full") as response:
        assert "18446744073709551615" in await response.text()
        assert (await response.json())["graph"]["3"]["inputs"]["seed"] == BIG


async def test_service_credential_is_refused_at_the_door(rig: Rig) -> None:
    url = f"{rig.url}/v1/runs/{rig.rooms.runs.run.id}"
    for headers in ({"authorization": "Bearer svc-x"}, {"authorization": "bearer  svc-x"}, {"x-api-key": "svc-x"}):
        async with rig.http.get(url, headers=headers) as response:
            assert response.status == 401
            assert response.headers["www-authenticate"] == "Bearer"
    async with rig.http.get(url, headers={"x-comfyfleet-team": "theirs"}) as response:
        assert response.status == 200
    assert "x-comfyfleet-team" not in rig.rooms.runs.metadata


async def test_links_stand_under_the_configured_address() -> None:
    async with open_rig(public_url="https://fleet.example/") as rig:
        url = f"{rig.url}/v1/runs/{rig.rooms.runs.run.id}"
        async with rig.http.get(url) as response:
            links = (await response.json())["links"]
        assert links["self"] == f"https://fleet.example/v1/runs/{rig.rooms.runs.run.id}"


async def test_a_room_that_is_away_is_503_without_its_address(rig: Rig) -> None:
    await rig.rooms.stop()
    async with rig.http.get(f"{rig.url}/v1/workflows") as response:
        assert response.status == 503
        assert response.headers["retry-after"] == "1"
        assert "127.0.0.1" not in await response.text()
    async with rig.http.get(f"{rig.url}/readyz") as response:
        assert response.status == 503
        assert (await response.json())["away"] == ["access", "file", "registry", "run"]


async def test_unknown_routes_methods_and_parameters_are_problems(rig: Rig) -> None:
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/runs", 405),
        ("GET", "/v1/runs?page_sise=3", 400),
        ("GET", "/v1/runs?page_size=many", 400),
        ("GET", "/v1/runs/%00", 400),
        ("GET", "/v1/runs/%ff", 404),
    ):
        async with rig.http.request(method, URL(f"{rig.url}{path}", encoded=True)) as response:
            assert response.status == status, path
            assert (await response.json())["status"] == status


async def test_stopping_gateway_ends_event_streams_whole() -> None:
    async with contextlib.AsyncExitStack() as clients:
        http = await clients.enter_async_context(aiohttp.ClientSession())
        async with open_rig() as rig:
            url = f"{rig.url}/v1/runs/{rig.rooms.runs.run.id}/events"
            response = await clients.enter_async_context(http.get(url))
            stream = events(response)
            assert (await anext(stream)).name == "snapshot"
        assert [one async for one in stream] == []
