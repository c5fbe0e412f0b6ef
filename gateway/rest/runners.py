"""`/v1/runners`: the backends as the fleet sees them."""

from typing import Any

from comfyfleet.run.v1 import runner_pb2
from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.caller import caller_of
from gateway.json_answer import answer, time_text, word
from gateway.openapi import runner_pages as pages
from gateway.query import Query, page
from gateway.rest.runs import CALL_TIMEOUT, next_page
from gateway.rooms import Rooms


class RunnerRoutes:
    """The routes of runners."""

    def __init__(self, *, rooms: Rooms) -> None:
        self._rooms = rooms

    def router(self) -> APIRouter:
        """The routes."""
        made = APIRouter(tags=["Runners"])
        made.get("/v1/runners", **pages.LIST)(self.list)
        made.get("/v1/runners/{runner_id}", **pages.GET)(self.get)
        return made

    async def list(self, request: Request) -> Response:
        """Show a page of the runners that may serve the team."""
        caller, query = caller_of(request), Query(request)
        size, token = page(query)
        query.done()
        asked = runner_pb2.ListRunnersRequest(page_size=size, page_token=token)
        got = await self._rooms.runners.ListRunners(asked, metadata=caller.metadata, timeout=CALL_TIMEOUT)
        body = {
            "runners": [runner_json(runner) for runner in got.runners],
            "next_page_token": got.next_page_token or None,
        }
        return answer(body, headers=next_page(request, caller, got.next_page_token))

    async def get(self, request: Request) -> Response:
        """Show one runner."""
        asked = runner_pb2.GetRunnerRequest(runner_id=request.path_params["runner_id"])
        metadata = caller_of(request).metadata
        got = await self._rooms.runners.GetRunner(asked, metadata=metadata, timeout=CALL_TIMEOUT)
        return answer(runner_json(got.runner))


def runner_json(runner: runner_pb2.Runner) -> dict[str, Any]:
    """A runner. Absent values are null."""
    return {
        "id": runner.id,
        "team_id": runner.team_id or None,
        "scope": word(runner_pb2.RunnerScope, runner.scope, "RUNNER_SCOPE_"),
        "local_key": runner.local_key,
        "dispatcher_id": runner.dispatcher_id,
        "runtime": runner.runtime,
        "tags": list(runner.tags),
        "region": runner.region or None,
        "health": word(runner_pb2.RunnerHealth, runner.health, "RUNNER_HEALTH_"),
        "health_reason": runner.health_reason or None,
        "enabled": runner.enabled,
        "draining": runner.draining,
        "catalogue_hash": runner.catalogue_hash or None,
        "devices": [_device_json(device) for device in runner.devices],
        "run_ids": list(runner.run_ids),
        "last_seen_time": time_text(runner, "last_seen_time"),
        "create_time": time_text(runner, "create_time"),
        "backend_version": runner.backend_version or None,
        "foreign_prompts": runner.foreign_prompts,
    }


def _device_json(device: runner_pb2.Device) -> dict[str, Any]:
    return {
        "name": device.name,
        "type": device.type,
        "memory_total_bytes": device.memory_total_bytes,
        "memory_free_bytes": device.memory_free_bytes,
    }
