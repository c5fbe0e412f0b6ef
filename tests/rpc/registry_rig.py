"""A served registry, a run room that knows only catalogues, and callers of two teams."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import pytest
from comfyfleet.registry.v1 import registry_pb2, registry_pb2_grpc
from comfyfleet.run.v1 import runner_pb2, runner_pb2_grpc
from grpc.aio import AioRpcError

from services.common.errors import DomainError, NotFound, Unavailable
from services.common.events.nats import Nats
from services.common.rpc.authentication import NoAuthenticator
from services.common.rpc.channel import open_channel
from services.common.rpc.metadata import bearer
from services.common.rpc.principal import Principal, PrincipalKind, current_principal
from services.common.rpc.rule import scoped, service_rules
from services.common.rpc.server import Member, open_server
from services.common.sql import Database
from services.common.status import error_of
from services.registry.room import open_room
from services.registry.service.catalogue_library import TTL

DEADLINE = 10.0
SERVICE_SECRET = "svc-test"
RED, BLUE = "01920000-0000-7000-8000-00000000000a", "01920000-0000-7000-8000-00000000000b"
EVERYTHING = frozenset({"workflows:read", "workflows:write"})


class Keys:
    """Knows one key of each team, and one that only reads."""

    async def authenticate(self, secret: str) -> Principal | None:
        names = {"sk-red": (RED, "red"), "sk-blue": (BLUE, "blue"), "sk-reader": (RED, "red")}
        if secret not in names:
            return None
        team_id, name = names[secret]
        return Principal(
            kind=PrincipalKind.INTEGRATION,
            credential_id=secret,
            team_id=team_id,
            team_name=name,
            scopes=frozenset({"workflows:read"}) if secret == "sk-reader" else EVERYTHING,
        )


class Runners(runner_pb2_grpc.RunnerServiceServicer):
    """Runners of teams and their catalogues, as the run room serves them."""

    def __init__(self) -> None:
        self.catalogues: dict[str, bytes] = {}
        self.runners: list[tuple[str | None, str, bool]] = []
        """(team or None for the fleet, catalogue hash, healthy)."""
        self.away = False
        self.listed = 0
        self.read = 0

    def attach(self, object_info: dict[str, Any], *, team_id: str | None = None, healthy: bool = True) -> str:
        """A runner with this catalogue; returns the catalogue's hash."""
        body = json.dumps(object_info, sort_keys=True, separators=(",", ":")).encode()
        hash_ = hashlib.sha256(body).hexdigest()
        self.catalogues[hash_] = body
        self.runners.append((team_id, hash_, healthy))
        return hash_

    async def GetRunner(self, request: runner_pb2.GetRunnerRequest, context: Any) -> runner_pb2.GetRunnerResponse:
        raise NotFound("Nobody asks for one here.", reason="RUNNER_NOT_FOUND")

    async def ListRunners(self, request: runner_pb2.ListRunnersRequest, context: Any) -> runner_pb2.ListRunnersResponse:
        self.listed += 1
        if self.away:
            raise Unavailable("Away.", reason="AWAY")
        start = int(request.page_token or 0)
        mine = self._of_team()
        healths = {True: runner_pb2.RUNNER_HEALTH_HEALTHY, False: runner_pb2.RUNNER_HEALTH_OFFLINE}
        return runner_pb2.ListRunnersResponse(
            runners=[
                runner_pb2.Runner(catalogue_hash=hash_, health=healths[healthy], enabled=True)
                for _, hash_, healthy in mine[start : start + 1]
            ],
            next_page_token=str(start + 1) if start + 1 < len(mine) else "",
        )

    async def GetNodeCatalogue(
        self, request: runner_pb2.GetNodeCatalogueRequest, context: Any
    ) -> AsyncIterator[runner_pb2.GetNodeCatalogueResponse]:
        self.read += 1
        if request.catalogue_hash not in {hash_ for _, hash_, _ in self._of_team()}:
            raise NotFound("No such catalogue.", reason="CATALOGUE_NOT_FOUND")
        body = self.catalogues[request.catalogue_hash]
        for start in range(0, len(body), 100):
            yield runner_pb2.GetNodeCatalogueResponse(chunk=body[start : start + 100])

    def _of_team(self) -> list[tuple[str | None, str, bool]]:
        principal = current_principal()
        assert principal.kind is PrincipalKind.SERVICE
        return [runner for runner in self.runners if runner[0] in (None, principal.team())]

    def member(self) -> Member:
        rules = {"ListRunners": scoped("runners:read"), "GetNodeCatalogue": scoped("runners:read")}
        return Member(
            name="run",
            register=lambda server: runner_pb2_grpc.add_RunnerServiceServicer_to_server(self, server),
            rules=service_rules("comfyfleet.run.v1.RunnerService", rules),
        )


@dataclass(kw_only=True)
class Registry:
    """The served room, as its callers see it."""

    channel: grpc.aio.Channel
    runners: Runners

    async def call(self, method: str, *, key: str = "sk-red", metadata: Any = (), **fields: Any) -> Any:
        request_name = f"{method}Request"
        stub: Any = registry_pb2_grpc.RegistryServiceStub(self.channel)
        request = getattr(registry_pb2, request_name)(**fields)
        return await getattr(stub, method)(request, metadata=(*bearer(key), *metadata), timeout=DEADLINE)

    async def refusal(self, method: str, **more: Any) -> DomainError:
        with pytest.raises(AioRpcError) as refused:
            await self.call(method, **more)
        return error_of(refused.value)

    async def create(self, graph: Any, **more: Any) -> Any:
        fields = {"display_name": "Cat", "slug": "cat", "graph_json": json.dumps(graph).encode(), **more}
        return (await self.call("CreateWorkflow", **fields)).workflow


@asynccontextmanager
async def open_registry(
    *, database: Database, nats: Nats | None = None, catalogue_ttl: timedelta = TTL
) -> AsyncIterator[Registry]:
    """A registry and its run room, each on a server of its own."""
    runners = Runners()
    async with (
        open_server(address="127.0.0.1:0") as run_server,
        run_server.serving([runners.member()], authenticator=NoAuthenticator(), service_credentials=[SERVICE_SECRET]),
        open_server(address="127.0.0.1:0") as server,
        open_channel(run_server.address, service_credential=SERVICE_SECRET) as run_channel,
        open_room(database=database, run_channel=run_channel, nats=nats, catalogue_ttl=catalogue_ttl) as members,
        server.serving(members, authenticator=Keys(), service_credentials=[SERVICE_SECRET]),
        open_channel(server.address) as channel,
    ):
        yield Registry(channel=channel, runners=runners)


async def until(condition: Callable[[], bool], changed: asyncio.Event) -> None:
    """Wait for `condition`, looked at after each change, until the deadline."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            changed.clear()
            await changed.wait()
