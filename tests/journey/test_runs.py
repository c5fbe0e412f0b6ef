"""A graph goes in, its progress comes back, and then its picture."""

import asyncio
import hashlib

import aiohttp
import pytest

from tests.journey.client import Client
from tests.journey.graphs import photo, picture_graph, picture_size, resize_graph, sampling_graph, slow_nodes


async def test_one_call_creates_watches_and_ends_with_a_picture(client: Client) -> None:
    events = [event async for event in client.events("POST", "/v1/runs", json={"graph": picture_graph()})]

    last = events[-1].body
    assert last["state"] == "SUCCEEDED"
    numbered = [int(event.id) for event in events if event.id is not None]
    assert numbered == sorted(set(numbered)), "ids rise and none comes twice"
    data = await client.output(last["run"], "0")
    assert picture_size(data) == (64, 48)
    assert hashlib.sha256(data).hexdigest() == last["run"]["outputs"][0]["sha256"]


async def test_uploaded_photo_is_resized(client: Client) -> None:
    form = aiohttp.FormData()
    form.add_field("photo", photo(), filename="me.jpg", content_type="image/jpeg")
    slug = "resize-photo"
    status, made = await client.call("POST", "/v1/workflows", json={"slug": slug, "graph": resize_graph()})
    assert status == 201, made

    status, run = await client.call("POST", f"/v1/workflows/{slug}/runs", data=form, headers={"prefer": "wait=50"})

    assert (status, run["state"]) == (201, "SUCCEEDED"), run
    assert picture_size(await client.output(run, run["outputs"][0]["name"])) == (32, 16)


async def test_progress_and_previews_come_while_it_samples(client: Client) -> None:
    body = {"graph": sampling_graph(steps=30), "previews": True}
    events = [event async for event in client.events("POST", "/v1/runs", json=body)]

    assert events[-1].body["state"] == "SUCCEEDED"
    fractions = [event.body["progress"]["fraction"] for event in events if event.name == "progress"]
    assert fractions
    assert all(0 <= fraction <= 1 for fraction in fractions)
    assert all(event.id is None for event in events if event.name in ("progress", "preview")), "they are not logged"


async def test_every_kind_of_output_comes_back(client: Client) -> None:
    graph = {
        **picture_graph(),
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        "4": {"class_type": "PreviewAny", "inputs": {"source": ["8", 0]}},
        "5": {
            "class_type": "SaveAnimatedWEBP",
            "inputs": {
                "images": ["9", 0],
                "filename_prefix": "moving",
                "fps": 6.0,
                "lossless": True,
                "quality": 80,
                "method": "default",
            },
        },
        "6": {"class_type": "EmptyAudio", "inputs": {"duration": 1.0, "sample_rate": 44100, "channels": 2}},
        "7": {"class_type": "SaveAudio", "inputs": {"audio": ["6", 0], "filename_prefix": "quiet"}},
        "8": {"class_type": "PrimitiveString", "inputs": {"value": "a text of its own"}},
        "9": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 3, "color": 255}},
        "10": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "11": {"class_type": "SaveLatent", "inputs": {"samples": ["10", 0], "filename_prefix": "latent"}},
        "12": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
    }
    run = await client.ended({"graph": graph})

    assert run["state"] == "SUCCEEDED", run["error"]
    by_node = {output["node_id"]: output for output in run["outputs"]}
    assert set(by_node) == {"2", "3", "4", "5", "7", "11", "12"}
    assert len({output["name"] for output in run["outputs"]}) == len(run["outputs"]), "names are unique in a run"
    assert by_node["4"]["media_type"].startswith("text/plain")
    assert await client.output(run, by_node["4"]["name"]) == b"a text of its own"
    assert (await client.output(run, by_node["7"]["name"])).startswith(b"fLaC")
    assert (await client.output(run, by_node["5"]["name"]))[8:12] == b"WEBP"
    assert picture_size(await client.output(run, by_node["12"]["name"])) == (64, 48)
    for output in run["outputs"]:
        assert len(await client.output(run, str(output["ordinal"]))) == output["size_bytes"]


async def test_failing_node_is_named_with_its_traceback(client: Client) -> None:
    graph = {
        "1": {"class_type": "StandinFail", "inputs": {"value": 1, "kind": "runtime", "message": "no such luck"}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }
    run = await client.ended({"graph": graph, "max_attempts": 1})

    assert run["state"] == "FAILED"
    assert (run["error"]["node_id"], run["error"]["node_class"]) == ("1", "StandinFail")
    assert "no such luck" in run["error"]["message"]
    assert run["error"]["traceback"]


async def test_running_run_is_cancelled_and_frees_its_backend(client: Client) -> None:
    graph = {
        **slow_nodes(seconds=30.0, steps=300),
    }
    states = []
    async for event in client.events("POST", "/v1/runs", json={"graph": graph}):
        if event.name == "state_changed":
            states.append(event.body["state"])
        if event.name == "progress" and "CANCELLING" not in states:
            states.append("CANCELLING")
            status, _ = await client.call("POST", f"/v1/runs/{event.body['run_id']}:cancel")
            assert status == 200
    assert states[-1] == "CANCELLED"

    after = await client.ended({"graph": picture_graph()})
    assert after["state"] == "SUCCEEDED"


async def test_unknown_node_class_is_refused_by_the_backend_and_ends_the_run(client: Client) -> None:
    graph = {"1": {"class_type": "NobodyHasThis", "inputs": {}}}
    status, run = await client.call("POST", "/v1/runs", json={"graph": graph, "require_runner": True})
    assert status == 412, run


async def test_thirty_runs_at_once_all_end_with_their_own_picture(client: Client) -> None:
    sizes = [(16 + index, 8 + index) for index in range(30)]
    runs = await asyncio.gather(
        *(client.ended({"graph": picture_graph(width=width, height=height)}) for width, height in sizes)
    )

    assert [run["state"] for run in runs] == ["SUCCEEDED"] * 30
    pictures = await asyncio.gather(*(client.output(run, "0") for run in runs))
    assert [picture_size(picture) for picture in pictures] == sizes


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json"])
async def test_open_pages_need_no_key(client: Client, path: str) -> None:
    async with aiohttp.ClientSession() as nobody, nobody.get(client.url + path) as answer:
        assert answer.status == 200
