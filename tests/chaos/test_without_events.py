"""With the event bus away for good, everything still happens: later, within the documented sweep or time to live."""

from pathlib import Path

import aiohttp
import pytest

from services.cli.supervisor.machine import MachinePlan, open_machine
from tests.journey.client import Client
from tests.journey.graphs import photo, resize_graph
from tests.servers.eventually import eventually
from tests.servers.ports import free_port

SWEEP_SECONDS = 60.0
CACHE_SECONDS = 5.0
MARGIN_SECONDS = 10.0


@pytest.mark.timeout(240)
async def test_runs_end_inputs_go_and_keys_are_refused_without_the_event_bus(tmp_path: Path) -> None:
    nobody = {"COMFYFLEET_NATS_URL": f"nats://127.0.0.1:{free_port()}"}
    plan = MachinePlan(state=tmp_path / "state", port=0, grpc_port=0, log_folder=tmp_path / "logs", settings=nobody)
    async with open_machine(plan) as machine:
        await machine.family.wait_ready()
        headers = {"authorization": f"Bearer {machine.connection.key}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            client = Client(session, machine.connection.url)
            file_id = await _run_with_input_to_delete(client)
            await _check_revocation(client)

            async def gone() -> bool:
                status, _ = await client.call("GET", f"/v1/files/{file_id}")
                return status == 404

            assert await eventually(gone, within_seconds=SWEEP_SECONDS + MARGIN_SECONDS)


async def _run_with_input_to_delete(client: Client) -> str:
    async with client.session.post(f"{client.url}/v1/files?file_name=me.jpg", data=photo()) as answer:
        file_id: str = (await answer.json())["id"]
    status, made = await client.call("POST", "/v1/workflows", json={"slug": "resize", "graph": resize_graph()})
    assert status == 201, made
    body = {"parameters": {"photo": file_id}, "delete_inputs_at_end": True}
    run = await client.ended(body, "/v1/workflows/resize/runs")
    assert run["state"] == "SUCCEEDED", run["error"]
    return file_id


async def _check_revocation(client: Client) -> None:
    body = {"kind": "integration", "display_name": "short-lived"}
    status, made = await client.call("POST", "/v1/credentials", json=body)
    assert status == 201, made
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {made['secret']}"}) as session:
        other = Client(session, client.url)
        paths = ("/v1/runs", "/v1/files", "/v1/workflows")
        for path in paths:
            status, page = await other.call("GET", path)
            assert status == 200, page
        status, _ = await client.call("POST", f"/v1/credentials/{made['id']}:revoke")
        assert status == 200

        async def refused() -> bool:
            return all([(await other.call("GET", path))[0] == 401 for path in paths])

        assert await eventually(refused, within_seconds=CACHE_SECONDS + MARGIN_SECONDS / 5)
