"""Values reach the backend exactly, by every door; what is wrong is named, all at once."""

from typing import Any

import aiohttp
import grpc
import pytest
from comfyfleet.run.v1 import run_pb2, run_service_pb2, run_service_pb2_grpc

from services.common.json_bytes import canonical_json
from tests.journey.client import Client
from tests.journey.graphs import sampling_graph
from tests.journey.installation import Installation

LARGEST_SEED = 18446744073709551615


def seeds_at_backend(fleet: Installation, run_id: str) -> list[int]:
    """The seeds of the samplers of what the backend executed for a run."""
    ours = [
        entry["prompt"]
        for entry in fleet.backend_history().values()
        if entry["prompt"][3].get("comfyfleet", {}).get("run_id") == run_id
    ]
    return [node["inputs"]["seed"] for prompt in ours for node in prompt[2].values() if "seed" in node["inputs"]]


@pytest.fixture
async def sampler(client: Client) -> str:
    """A workflow whose seed and steps are parameters."""
    slug = "seeds"
    parameters = [
        {
            "key": "seed",
            "type": "integer",
            "minimum": 0,
            "maximum": LARGEST_SEED,
            "targets": [{"node_id": "3", "input": "seed"}],
        },
        {
            "key": "steps",
            "type": "integer",
            "minimum": 1,
            "maximum": 50,
            "targets": [{"node_id": "3", "input": "steps"}],
        },
        {
            "key": "scheduler",
            "type": "select",
            "options": ["normal", "karras"],
            "targets": [{"node_id": "3", "input": "scheduler"}],
        },
        {
            "key": "prompt",
            "type": "string",
            "required": True,
            "targets": [{"node_id": "6", "input": "text"}],
        },
    ]
    body = {"slug": slug, "graph": sampling_graph(), "parameters": parameters}
    status, made = await client.call("POST", "/v1/workflows", json=body)
    assert status in (201, 409), made
    return slug


async def test_largest_seed_is_exact_by_json(client: Client, fleet: Installation, sampler: str) -> None:
    body = {"parameters": {"seed": LARGEST_SEED, "prompt": "json"}}
    run = await client.ended(body, f"/v1/workflows/{sampler}/runs")
    assert seeds_at_backend(fleet, run["id"]) == [LARGEST_SEED]


async def test_largest_seed_is_exact_by_form(client: Client, fleet: Installation, sampler: str) -> None:
    form = aiohttp.FormData({"seed": str(LARGEST_SEED), "prompt": "form"})
    form.add_field("unused", b"", filename="none")
    status, refused = await client.call("POST", f"/v1/workflows/{sampler}/runs", data=form)
    assert status == 400, refused

    fields = aiohttp.FormData(default_to_multipart=True)
    fields.add_field("seed", str(LARGEST_SEED))
    fields.add_field("prompt", "form")
    status, run = await client.call("POST", f"/v1/workflows/{sampler}/runs", data=fields, headers={"prefer": "wait=50"})
    assert (status, run["state"]) == (201, "SUCCEEDED"), run
    assert seeds_at_backend(fleet, run["id"]) == [LARGEST_SEED]


async def test_largest_seed_is_exact_by_overrides(client: Client, fleet: Installation) -> None:
    body = {"graph": sampling_graph(), "overrides": {"3": {"inputs": {"seed": LARGEST_SEED}}}}
    run = await client.ended(body)
    assert seeds_at_backend(fleet, run["id"]) == [LARGEST_SEED]


async def test_largest_seed_is_exact_by_grpc(channel: grpc.aio.Channel, fleet: Installation, sampler: str) -> None:
    stub = run_service_pb2_grpc.RunServiceStub(channel)
    request = run_service_pb2.CreateRunRequest(
        workflow=sampler, parameters_json=canonical_json({"seed": LARGEST_SEED, "prompt": "grpc"})
    )
    metadata = (("authorization", f"Bearer {fleet.key}"),)
    last: Any = None
    async for event in stub.ExecuteRun(request, metadata=metadata, timeout=60):
        last = event
    assert last.state_changed.state == run_pb2.RUN_STATE_SUCCEEDED
    assert seeds_at_backend(fleet, last.run_id) == [LARGEST_SEED]


async def test_every_violation_is_named_in_one_answer(client: Client, sampler: str) -> None:
    body = {
        "parameters": {"seed": LARGEST_SEED + 0.5, "steps": 51, "scheduler": "sometimes", "colour": "red"},
        "overrides": {"77": {"inputs": {"text": "nobody"}}},
    }
    status, problem = await client.call("POST", f"/v1/workflows/{sampler}/runs", json=body)

    assert status == 400, problem
    assert {violation["field"] for violation in problem["violations"]} == {
        "parameters.seed",
        "parameters.steps",
        "parameters.scheduler",
        "parameters.colour",
        "parameters.prompt",
        "overrides.77",
    }
    assert all(violation["reason"] and violation["message"] for violation in problem["violations"])


async def test_seed_above_64_bits_is_refused(client: Client, sampler: str) -> None:
    body = {"parameters": {"seed": LARGEST_SEED + 1, "prompt": "too large"}}
    status, problem = await client.call("POST", f"/v1/workflows/{sampler}/runs", json=body)
    assert status == 400, problem


async def test_placeholders_become_parameters(client: Client, fleet: Installation) -> None:
    graph = sampling_graph(seed="$random()")
    graph["6"]["inputs"]["text"] = "$text(wish, a quiet sea)"
    graph["3"]["inputs"]["scheduler"] = "$choice(pace, karras, normal)"
    status, made = await client.call("POST", "/v1/workflows", json={"slug": "placeholders", "graph": graph})
    assert status in (201, 409), made

    run = await client.ended({"parameters": {"wish": "a loud sea"}}, "/v1/workflows/placeholders/runs")

    assert run["state"] == "SUCCEEDED", run["error"]
    (seed,) = seeds_at_backend(fleet, run["id"])
    assert 0 <= seed <= LARGEST_SEED
    status, full = await client.call("GET", f"/v1/runs/{run['id']}?view=full")
    assert full["graph"]["6"]["inputs"]["text"] == "a loud sea"
    assert full["graph"]["3"]["inputs"]["scheduler"] == "karras"
