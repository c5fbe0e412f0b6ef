"""The door of RunnerService."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
from comfyfleet.run.v1 import runner_pb2, runner_pb2_grpc

from services.common.rpc.principal import Principal, PrincipalKind, current_principal
from services.common.rpc.rule import scoped, service_rules
from services.run.service.catalogues import Catalogues
from services.run.service.runners import Runners
from services.run.servicer.desire_converters import runner_to_proto

CHUNK_BYTES = 256 * 1024

RUNNER_RULES = service_rules(
    "comfyfleet.run.v1.RunnerService",
    {
        "GetRunner": scoped("runners:read"),
        "ListRunners": scoped("runners:read"),
        "GetNodeCatalogue": scoped("runners:read"),
    },
)

_Context = grpc.aio.ServicerContext[Any, Any]


class RunnerServicer(runner_pb2_grpc.RunnerServiceServicer):
    """Converts."""

    def __init__(self, *, runners: Runners, catalogues: Catalogues) -> None:
        self._runners = runners
        self._catalogues = catalogues

    async def GetRunner(
        self,
        request: runner_pb2.GetRunnerRequest,
        context: _Context,  # noqa: ARG002 # gRPC's
    ) -> runner_pb2.GetRunnerResponse:
        runner = await self._runners.get(request.runner_id, team_id=_team(current_principal()))
        return runner_pb2.GetRunnerResponse(runner=runner_to_proto(runner))

    async def ListRunners(
        self,
        request: runner_pb2.ListRunnersRequest,
        context: _Context,  # noqa: ARG002 # gRPC's
    ) -> runner_pb2.ListRunnersResponse:
        page, token = await self._runners.list(
            team_id=_team(current_principal()), page_size=request.page_size, page_token=request.page_token
        )
        return runner_pb2.ListRunnersResponse(runners=[runner_to_proto(one) for one in page], next_page_token=token)

    async def GetNodeCatalogue(
        self,
        request: runner_pb2.GetNodeCatalogueRequest,
        context: _Context,  # noqa: ARG002 # gRPC's
    ) -> AsyncIterator[runner_pb2.GetNodeCatalogueResponse]:
        body = await self._catalogues.read(request.catalogue_hash, team_id=_team(current_principal()))
        for start in range(0, len(body), CHUNK_BYTES):
            yield runner_pb2.GetNodeCatalogueResponse(chunk=body[start : start + CHUNK_BYTES])


def _team(principal: Principal) -> str | None:
    """Whose runners are seen; None: all, for a room that acts for no team."""
    if principal.kind is PrincipalKind.SERVICE:
        return principal.team_id
    return principal.team()
