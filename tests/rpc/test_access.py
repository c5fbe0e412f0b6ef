"""AccessService over a real server, and what revocation means to another one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from comfyfleet.access.v1 import access_pb2 as pb
from comfyfleet.access.v1 import access_pb2_grpc
from grpc.aio import AioRpcError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from nats.js.errors import NotFoundError

from services.access.bootstrap import FirstKeys, bootstrap
from services.access.room import open_room, use_cases
from services.access.servicer import RULES
from services.common.background import background
from services.common.errors import DomainError, InvalidArgument, NotFound, PermissionDenied, Unauthenticated
from services.common.events.nats import Nats
from services.common.events.revocations import follow_revocations
from services.common.events.stream import STREAM
from services.common.rpc.channel import open_channel
from services.common.rpc.metadata import bearer
from services.common.rpc.principal import current_principal
from services.common.rpc.remote_authenticator import RemoteAuthenticator
from services.common.rpc.rule import scoped, service_rules
from services.common.rpc.server import Member, open_server
from services.common.sql import Database
from services.common.status import error_of

SERVICE = "comfyfleet.access.v1.AccessService"
SERVICE_SECRET = "svc-test"
DEADLINE = 10.0


@pytest.fixture(params=["sqlite"])
def databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One kind is enough here: the contract suite runs the rows on both."""
    from tests.servers.databases import Databases

    return Databases(folder=tmp_path_factory.mktemp("databases"), postgres=None)


@pytest.fixture
def room() -> str:
    return "access"


@dataclass(kw_only=True)
class Access:
    """The served room, as its callers see it."""

    address: str
    stub: Any
    keys: FirstKeys

    async def call(self, method: str, request: Any, secret: str | None = None) -> Any:
        metadata = bearer(secret or self.keys.first_key or "")
        return await getattr(self.stub, method)(request, metadata=metadata, timeout=DEADLINE)

    async def refusal(self, method: str, request: Any, secret: str | None = None) -> DomainError:
        with pytest.raises(AioRpcError) as refused:
            await self.call(method, request, secret)
        return error_of(refused.value)

    async def key(self, *scopes: str, team: str = "") -> pb.CreateCredentialResponse:
        request = pb.CreateCredentialRequest(
            kind=pb.CREDENTIAL_KIND_INTEGRATION, display_name="k", scopes=scopes, team=team
        )
        answer: pb.CreateCredentialResponse = await self.call("CreateCredential", request)
        return answer


@pytest_asyncio.fixture
async def access(database: Database, nats: Nats, tmp_path: Path) -> AsyncIterator[Access]:
    cases = use_cases(database=database)
    keys = await bootstrap(teams=cases.teams, credentials=cases.credentials, state_dir=tmp_path)
    async with (
        open_server(address="127.0.0.1:0") as server,
        open_channel(server.address) as channel,
        open_room(database=database, nats=nats) as room,
        background(revocations=follow_revocations(nats=nats, forget=server.forget)),
        server.serving(room.members, authenticator=room.authenticator, service_credentials=[SERVICE_SECRET]),
    ):
        yield Access(address=server.address, stub=access_pb2_grpc.AccessServiceStub(channel), keys=keys)


async def test_the_first_key_makes_a_team_and_a_key_for_it(access: Access) -> None:
    team = (await access.call("CreateTeam", pb.CreateTeamRequest(name="studio", display_name="Studio"))).team
    assert (team.name, team.display_name) == ("studio", "Studio")
    created = await access.key(team="studio")
    assert created.credential.team_id == team.id
    seen = (await access.call("GetTeam", pb.GetTeamRequest(), created.secret)).team
    assert seen == team
    listed = await access.call("ListTeams", pb.ListTeamsRequest(), created.secret)
    assert list(listed.teams) == [team]
    assert [one.name for one in (await access.call("ListTeams", pb.ListTeamsRequest())).teams] == ["home", "studio"]


async def test_a_teams_key_cannot_make_teams_or_touch_another_team(access: Access) -> None:
    await access.call("CreateTeam", pb.CreateTeamRequest(name="studio"))
    secret = (await access.key(team="studio")).secret
    refusal = await access.refusal("CreateTeam", pb.CreateTeamRequest(name="more"), secret)
    assert isinstance(refusal, PermissionDenied)
    for method, request in (
        ("GetTeam", pb.GetTeamRequest(team="home")),
        ("ListCredentials", pb.ListCredentialsRequest(team="home")),
        ("CreateCredential", _wish(team="home")),
    ):
        there = await access.refusal(method, request, secret)
        request.team = "nowhere"
        nowhere = await access.refusal(method, request, secret)
        assert isinstance(there, NotFound)
        assert (there.message, there.reason) == (nowhere.message, nowhere.reason)


def _wish(**fields: Any) -> pb.CreateCredentialRequest:
    return pb.CreateCredentialRequest(kind=pb.CREDENTIAL_KIND_INTEGRATION, display_name="k", **fields)


async def test_all_violations_come_at_once(access: Access) -> None:
    request = pb.CreateCredentialRequest(display_name="", scopes=["x"], fleet=True)
    request.expire_time.FromSeconds(1)
    refusal = await access.refusal("CreateCredential", request)
    assert isinstance(refusal, InvalidArgument)
    fields = {violation.field for violation in refusal.violations}
    assert fields == {"kind", "display_name", "scopes[0]", "expire_time", "fleet"}


async def test_a_time_beyond_all_calendars_is_a_violation(access: Access) -> None:
    request = _wish()
    request.expire_time.seconds = 2**62
    refusal = await access.refusal("CreateCredential", request)
    assert isinstance(refusal, InvalidArgument)
    assert [violation.field for violation in refusal.violations] == ["expire_time"]


async def test_a_negative_page_size_and_a_made_up_token_are_refused(access: Access) -> None:
    for request in (pb.ListTeamsRequest(page_size=-1), pb.ListTeamsRequest(page_token="x")):
        assert isinstance(await access.refusal("ListTeams", request), InvalidArgument)


async def test_only_rooms_may_authenticate_secrets(access: Access) -> None:
    request = pb.AuthenticateRequest(secret=access.keys.first_key or "")
    assert isinstance(await access.refusal("Authenticate", request), PermissionDenied)
    answer = await access.call("Authenticate", request, SERVICE_SECRET)
    assert (answer.kind, answer.team_name) == (pb.CREDENTIAL_KIND_INTEGRATION, "home")
    assert "installation:admin" in answer.scopes
    unknown = pb.AuthenticateRequest(secret="sk-unknown")
    assert isinstance(await access.refusal("Authenticate", unknown, SERVICE_SECRET), Unauthenticated)


async def test_a_dispatchers_key_may_call_nothing_here(access: Access) -> None:
    for method, request in (("ListTeams", pb.ListTeamsRequest()), ("CreateCredential", _wish())):
        refusal = await access.refusal(method, request, access.keys.agent_secret)
        assert refusal.reason == "WRONG_CREDENTIAL_KIND"


async def test_every_method_has_a_rule() -> None:
    methods = pb.DESCRIPTOR.services_by_name["AccessService"].methods
    assert set(RULES) == {f"/{SERVICE}/{method.name}" for method in methods}


async def test_health_and_reflection_need_no_key(access: Access) -> None:
    async with open_channel(access.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=DEADLINE)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        any_channel: Any = channel  # typed for the synchronous API only
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(any_channel)
        asked = reflection.ServerReflectionInfo(timeout=DEADLINE)
        await asked.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        said = await asked.read()
        assert SERVICE in {service.name for service in said.list_services_response.service}
        asked.cancel()


class Watching:
    """Another room: one endless stream."""

    async def watch(self, _request: bytes, _context: Any) -> AsyncIterator[bytes]:
        yield (current_principal().team_name or "").encode()
        await asyncio.Event().wait()

    def register(self, server: grpc.aio.Server) -> None:
        handlers: dict[str, Any] = {"Watch": grpc.unary_stream_rpc_method_handler(self.watch)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("sample.Service", handlers),))


async def test_a_revoked_key_is_refused_by_another_member_within_a_second(access: Access, nats: Nats) -> None:
    rules = service_rules("sample.Service", {"Watch": scoped("runs:read", endless=True)})
    member = Member(name="sample", register=Watching().register, rules=rules)
    created = await access.key("runs:read")
    metadata = bearer(created.secret)
    async with (
        open_server(address="127.0.0.1:0") as server,
        open_channel(server.address) as channel,
        open_channel(access.address, service_credential=SERVICE_SECRET) as to_access,
        background(revocations=follow_revocations(nats=nats, forget=server.forget)),
        server.serving([member], authenticator=RemoteAuthenticator(to_access)),
    ):
        watch: Any = channel.unary_stream("/sample.Service/Watch")
        stream = watch(b"", metadata=metadata, timeout=DEADLINE)
        assert await stream.read() == b"home"
        await asyncio.wait_for(_consumers(nats, at_least=2), DEADLINE)
        await access.call("RevokeCredential", pb.RevokeCredentialRequest(credential_id=created.credential.id))
        revoked = asyncio.get_running_loop().time()
        with pytest.raises(AioRpcError) as ended:
            await stream.read()
        assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert asyncio.get_running_loop().time() - revoked < 1
        with pytest.raises(AioRpcError) as refused:
            await watch(b"", metadata=metadata, timeout=DEADLINE).read()
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    refusal = await access.refusal("ListTeams", pb.ListTeamsRequest(), created.secret)
    assert isinstance(refusal, Unauthenticated)


async def _consumers(nats: Nats, *, at_least: int) -> None:
    """Until both servers listen for revocations."""
    js = await nats.wait_connected()
    while True:
        with suppress(NotFoundError):
            if (await js.stream_info(STREAM)).state.consumer_count >= at_least:
                return
        await asyncio.sleep(0.01)
