"""The whole run room behind a real server, for dispatchers of the installation and of teams."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
from comfyfleet.run.v1 import run_event_pb2, run_pb2, run_service_pb2, run_service_pb2_grpc, runner_pb2_grpc

from services.common.errors import Unauthenticated
from services.common.events.hints import Hints
from services.common.grant import new_key_pair
from services.common.ids import new_id
from services.common.rpc.authentication import NoAuthenticator
from services.common.rpc.channel import open_channel
from services.common.rpc.metadata import bearer
from services.common.rpc.principal import Principal, PrincipalKind
from services.common.rpc.server import RoomServer, open_server
from services.common.settings import Settings
from services.common.sql import Database
from services.run.room import open_room
from tests.rpc.run_rig import SERVICE, SmallFiles, SmallRegistry, peer_members
from tests.rpc.scripted_dispatcher import ScriptedDispatcher

TEAM_A, TEAM_B = new_id(), new_id()
ALICE, BOB = bearer("sk-alice"), bearer("sk-bob")
DEADLINE = 20.0
GRAPH = b'{"1":{"class_type":"EmptyImage","inputs":{}},"2":{"class_type":"SaveImage","inputs":{"images":["1",0]}}}'

_SCOPES = frozenset({"runs:read", "runs:write", "runners:read"})
_AGENT = frozenset({"queue:synchronize"})


class Keys:
    """Two teams, each with a program and a dispatcher, and a dispatcher of the installation."""

    async def authenticate(self, secret: str) -> Principal | None:
        programs = {"sk-alice": TEAM_A, "sk-bob": TEAM_B}
        agents = {"ak-fleet": None, "ak-alice": TEAM_A, "ak-bob": TEAM_B}
        if secret in programs:
            return Principal(
                kind=PrincipalKind.INTEGRATION, credential_id=secret, team_id=programs[secret], scopes=_SCOPES
            )
        if secret in agents:
            return Principal(kind=PrincipalKind.AGENT, credential_id=secret, team_id=agents[secret], scopes=_AGENT)
        raise Unauthenticated("No.", reason="CREDENTIAL_UNKNOWN")


@dataclass(kw_only=True)
class QueueRig:
    """One running run room."""

    channel: grpc.aio.Channel
    database: Database
    server: RoomServer
    public_key: str
    dispatchers: list[ScriptedDispatcher] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runs: run_service_pb2_grpc.RunServiceAsyncStub = run_service_pb2_grpc.RunServiceStub(self.channel)
        self.runners: runner_pb2_grpc.RunnerServiceAsyncStub = runner_pb2_grpc.RunnerServiceStub(self.channel)

    def dispatcher(self, secret: str = "ak-fleet", name: str = "garage") -> ScriptedDispatcher:
        """A dispatcher without runners, not connected yet."""
        made = ScriptedDispatcher(self.channel, secret=secret, name=name)
        self.dispatchers.append(made)
        return made

    async def attached(self, secret: str = "ak-fleet", name: str = "garage", **runner: Any) -> ScriptedDispatcher:
        """A connected dispatcher with one runner that was granted to it."""
        made = self.dispatcher(secret, name)
        made.add_runner(**runner)
        made.open()
        await made.until(lambda desired: bool(desired.runners))
        return made

    async def create(self, metadata: Any = ALICE, **request: Any) -> run_pb2.Run:
        """CreateRun of the small graph."""
        message = run_service_pb2.CreateRunRequest(graph_json=request.pop("graph_json", GRAPH), **request)
        return (await self.runs.CreateRun(message, metadata=metadata, timeout=DEADLINE)).run

    async def get(self, run_id: str, metadata: Any = ALICE) -> run_pb2.Run:
        """GetRun."""
        message = run_service_pb2.GetRunRequest(run_id=run_id)
        return (await self.runs.GetRun(message, metadata=metadata, timeout=DEADLINE)).run

    async def cancel(self, run_id: str, metadata: Any = ALICE) -> run_pb2.Run:
        """CancelRun."""
        message = run_service_pb2.CancelRunRequest(run_id=run_id)
        return (await self.runs.CancelRun(message, metadata=metadata, timeout=DEADLINE)).run

    async def ended(self, run_id: str, metadata: Any = ALICE) -> run_pb2.Run:
        """The run, once it has ended."""
        event = [one async for one in self.events(run_id, metadata)][-1]
        assert event.HasField("snapshot") or event.HasField("state_changed"), event
        return event.snapshot if event.HasField("snapshot") else event.state_changed.run

    async def in_state(self, run_id: str, state: "run_pb2.RunState.ValueType", metadata: Any = ALICE) -> None:
        """Return once the run is, or was, in that state."""
        async for event in self.events(run_id, metadata, after_sequence=0):
            if event.state_changed.state == state:
                return
        raise AssertionError(f"It ended without having been in state {state}.")

    async def log(self, run_id: str, metadata: Any = ALICE) -> list[run_event_pb2.RunEvent]:
        """All logged events of a run that ends."""
        return [one async for one in self.events(run_id, metadata, after_sequence=0) if one.sequence]

    def events(self, run_id: str, metadata: Any = ALICE, **request: Any) -> AsyncIterator[run_event_pb2.RunEvent]:
        message = run_service_pb2.WatchRunRequest(run_id=run_id, **request)
        return aiter(self.runs.WatchRun(message, metadata=metadata, timeout=DEADLINE))


@asynccontextmanager
async def open_queue_rig(database: Database, *, lease: timedelta = timedelta(seconds=30)) -> AsyncIterator[QueueRig]:
    """The room over `database`, on a free port, with its loops running."""
    private_key, public_key = new_key_pair()
    settings = Settings(grant_private_key=private_key, lease=lease, fleet_id="tests")
    async with AsyncExitStack() as stack:
        peers = await stack.enter_async_context(open_server(address="127.0.0.1:0"))
        members = peer_members(SmallRegistry(), SmallFiles())  # type: ignore[abstract]  # what is not called is missing
        await stack.enter_async_context(
            peers.serving(members, authenticator=NoAuthenticator(), service_credentials=[SERVICE])
        )
        to_peers = await stack.enter_async_context(open_channel(peers.address, service_credential=SERVICE))
        room = await stack.enter_async_context(
            open_room(
                settings=settings,
                database=database,
                nats=None,
                hints=Hints(nats=None),
                registry_channel=to_peers,
                file_channel=to_peers,
            )
        )
        server = await stack.enter_async_context(open_server(address="127.0.0.1:0"))
        channel = await stack.enter_async_context(open_channel(server.address))
        await stack.enter_async_context(server.serving(room, authenticator=Keys(), service_credentials=[SERVICE]))
        rig = QueueRig(channel=channel, database=database, server=server, public_key=public_key)
        try:
            yield rig
        finally:
            for dispatcher in rig.dispatchers:
                await dispatcher.close()
