"""The server and interceptor that carry every room, with a small service of raw bytes in all four call shapes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from grpc.aio import AioRpcError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from services.common.errors import InvalidArgument, NotFound, PermissionDenied, Unauthenticated, Unavailable, Violation
from services.common.rpc.channel import open_channel
from services.common.rpc.interceptor import RPC_CRASHED, RPC_FINISHED
from services.common.rpc.metadata import REQUEST_ID, bearer, current_request_id, for_team, set_request_id
from services.common.rpc.principal import Principal, PrincipalKind, current_principal
from services.common.rpc.rule import scoped, service_only, service_rules
from services.common.rpc.server import Member, RoomServer, open_server
from services.common.status import error_of

SERVICE = "comfyfleet.sample.v1.SampleService"
DEADLINE = 20.0
GOOD = bearer("sk-good")
FLOOD, FLOOD_BYTES = 60, 1024 * 1024
"""More than any buffer on the way takes."""


class Secrets:
    """Knows `sk-good`, until it is told to forget it."""

    def __init__(self) -> None:
        self.good = {"sk-good"}
        self.asked = 0

    async def authenticate(self, secret: str) -> Principal | None:
        self.asked += 1
        await asyncio.sleep(0)
        if secret not in self.good:
            raise Unauthenticated("No.", reason="CREDENTIAL_UNKNOWN")
        return Principal(
            kind=PrincipalKind.INTEGRATION, credential_id="c1", team_id="t1", scopes=frozenset({"sample:read"})
        )


class Sample:
    """Handlers of all four shapes."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()
        self.sent = 0

    async def who(self, request: bytes, context: Any) -> bytes:
        principal = current_principal()
        return f"{principal.kind} {principal.team_id} {current_request_id()}".encode()

    async def fail(self, request: bytes, context: Any) -> bytes:
        match request:
            case b"missing":
                raise NotFound("No such thing.", reason="THING_NOT_FOUND", metadata={"id": "7"})
            case b"invalid":
                raise InvalidArgument(violations=[Violation("a", "REQUIRED", "Give a."), Violation("b", "X", "Y.")])
            case b"busy":
                raise Unavailable("Later.", reason="BUSY", retry_after=timedelta(seconds=2))
        raise KeyError("secret detail")

    async def count(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(3):
            yield str(number).encode()
        if request == b"fail":
            raise NotFound("No more.", reason="THING_NOT_FOUND")

    async def flood(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(FLOOD):
            yield bytes(FLOOD_BYTES)
            self.sent += 1

    async def watch(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            self.opened.set()
            yield b"first"
            await asyncio.Event().wait()
        finally:
            self.closed.set()

    async def collect(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"".join([one async for one in requests])

    async def echo(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for one in requests:
            yield one

    def register(self, server: grpc.aio.Server) -> None:
        handlers: dict[str, Any] = {
            "Who": grpc.unary_unary_rpc_method_handler(self.who),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Secret": grpc.unary_unary_rpc_method_handler(self.who),
            "Rooms": grpc.unary_unary_rpc_method_handler(self.who),
            "Unruled": grpc.unary_unary_rpc_method_handler(self.who),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Flood": grpc.unary_stream_rpc_method_handler(self.flood),
            "Watch": grpc.unary_stream_rpc_method_handler(self.watch),
            "Collect": grpc.stream_unary_rpc_method_handler(self.collect),
            "Echo": grpc.stream_stream_rpc_method_handler(self.echo),
            "Read": grpc.unary_unary_rpc_method_handler(self.who, request_deserializer=Duration.FromString),
            "Gather": grpc.stream_unary_rpc_method_handler(self.collect, request_deserializer=Duration.FromString),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


RULES = service_rules(
    SERVICE,
    {
        "Who": scoped("sample:read"),
        "Fail": scoped("sample:read"),
        "Secret": scoped("sample:write"),
        "Rooms": service_only(),
        "Count": scoped("sample:read"),
        "Flood": scoped("sample:read"),
        "Watch": scoped("sample:read", endless=True),
        "Collect": scoped("sample:read"),
        "Echo": scoped("sample:read"),
        "Read": scoped("sample:read"),
        "Gather": scoped("sample:read"),
    },
)


class Setting:
    """A served sample room and a channel to it."""

    def __init__(self, server: RoomServer, channel: grpc.aio.Channel, sample: Sample, secrets: Secrets) -> None:
        self.server, self.channel, self.sample, self.secrets = server, channel, sample, secrets

    async def unary(self, method: str, request: bytes = b"", *, metadata: Any = GOOD) -> bytes:
        call: Any = self.channel.unary_unary(f"/{SERVICE}/{method}")
        answer: bytes = await call(request, metadata=metadata, timeout=DEADLINE)
        return answer

    def stream(self, method: str, request: bytes = b"", *, metadata: Any = GOOD) -> Any:
        call: Any = self.channel.unary_stream(f"/{SERVICE}/{method}")
        return call(request, metadata=metadata, timeout=DEADLINE)


@asynccontextmanager
async def _open_setting(*, local: bool = False) -> AsyncIterator[Setting]:
    sample, secrets = Sample(), Secrets()
    member = Member(name="sample", register=sample.register, rules=RULES)
    async with (
        open_server(address="127.0.0.1:0") as server,
        open_channel(server.address, here=server.methods if local else None) as channel,
        server.serving([member], authenticator=secrets, service_credentials=["svc-new", "svc-old"]),
    ):
        yield Setting(server, channel, sample, secrets)


@pytest_asyncio.fixture(params=[False, True], ids=["socket", "same process"])
async def setting(request: pytest.FixtureRequest) -> AsyncIterator[Setting]:
    async with _open_setting(local=request.param) as opened:
        yield opened


async def _refused(call: Any) -> AioRpcError:
    with pytest.raises(AioRpcError) as refused:
        await call
    return refused.value


async def test_the_principal_and_request_id_reach_the_handler(setting: Setting) -> None:
    answer = await setting.unary("Who", metadata=(*bearer("sk-good"), (REQUEST_ID, "abc")))
    assert answer == b"integration t1 abc"


async def test_an_api_key_header_is_a_credential_too(setting: Setting) -> None:
    assert (await setting.unary("Who", metadata=(("x-api-key", "sk-good"),))).startswith(b"integration t1 ")


async def test_the_request_id_of_the_caller_crosses_the_channel(setting: Setting) -> None:
    set_request_id("from-the-task")
    assert (await setting.unary("Who")).endswith(b" from-the-task")


async def test_a_call_without_credential_is_unauthenticated(setting: Setting) -> None:
    error = await _refused(setting.unary("Who", metadata=()))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert error_of(error).reason == "CREDENTIAL_MISSING"


async def test_an_unknown_credential_is_unauthenticated(setting: Setting) -> None:
    assert (await _refused(setting.unary("Who", metadata=bearer("sk-bad")))).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_missing_scope_is_named(setting: Setting) -> None:
    error = error_of(await _refused(setting.unary("Secret")))
    assert isinstance(error, PermissionDenied)
    assert (error.reason, error.metadata) == ("SCOPE_MISSING", {"scope": "sample:write"})


async def test_a_method_without_rule_is_refused_to_everybody(setting: Setting) -> None:
    for secret in ("sk-good", "svc-new"):
        error = error_of(await _refused(setting.unary("Unruled", metadata=bearer(secret))))
        assert error.reason == "NO_RULE"


async def test_an_unknown_method_is_unimplemented(setting: Setting) -> None:
    assert (await _refused(setting.unary("Nothing"))).code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("secret", ["svc-new", "svc-old"])
async def test_every_service_credential_acts_for_the_named_team(setting: Setting, secret: str) -> None:
    answer = await setting.unary("Rooms", metadata=(*bearer(secret), *for_team("t9")))
    assert answer.startswith(b"service t9 ")
    assert setting.secrets.asked == 0


async def test_a_wrong_service_credential_never_reaches_authenticate(setting: Setting) -> None:
    error = await _refused(setting.unary("Rooms", metadata=bearer("svc-wrong")))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert setting.secrets.asked == 0


async def test_a_team_key_cannot_name_another_team(setting: Setting) -> None:
    answer = await setting.unary("Who", metadata=(*bearer("sk-good"), *for_team("t9")))
    assert answer.startswith(b"integration t1 ")


async def test_domain_errors_arrive_with_their_details(setting: Setting) -> None:
    missing = error_of(await _refused(setting.unary("Fail", b"missing")))
    assert isinstance(missing, NotFound)
    assert (missing.message, missing.reason, missing.metadata) == ("No such thing.", "THING_NOT_FOUND", {"id": "7"})
    invalid = error_of(await _refused(setting.unary("Fail", b"invalid")))
    assert isinstance(invalid, InvalidArgument)
    assert [violation.field for violation in invalid.violations] == ["a", "b"]
    busy = error_of(await _refused(setting.unary("Fail", b"busy")))
    assert isinstance(busy, Unavailable)
    assert busy.retry_after == timedelta(seconds=2)


async def test_an_unknown_error_shows_its_request_id_and_nothing_else(setting: Setting) -> None:
    with capture_logs() as lines:
        error = await _refused(setting.unary("Fail", metadata=(*bearer("sk-good"), (REQUEST_ID, "abc"))))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == "Internal error; its request id is abc."
    crash = next(line for line in lines if line["event"] == RPC_CRASHED)
    assert isinstance(crash["exc_info"], KeyError)


async def test_bytes_that_are_no_message_are_the_caller_s_error(setting: Setting) -> None:
    async def requests() -> AsyncIterator[bytes]:
        yield b"\xff\xfe"

    gather: Any = setting.channel.stream_unary(f"/{SERVICE}/Gather")
    for call in (setting.unary("Read", b"\xff\xfe"), gather(requests(), metadata=GOOD, timeout=DEADLINE)):
        error = await _refused(call)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error_of(error).reason == "UNREADABLE_MESSAGE"


async def test_bytes_of_a_stranger_are_not_talked_about(setting: Setting) -> None:
    error = await _refused(setting.unary("Read", b"\xff\xfe", metadata=()))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_each_call_writes_one_canonical_line(setting: Setting) -> None:
    with capture_logs() as lines:
        await setting.unary("Who")
        await _refused(setting.unary("Fail", b"missing"))
    finished = [line for line in lines if line["event"] == RPC_FINISHED]
    assert [line["code"] for line in finished] == ["OK", "NOT_FOUND"]
    assert all(line["duration_ms"] >= 0 for line in finished)


async def test_streams_of_all_shapes_pass_through(setting: Setting) -> None:
    async def requests() -> AsyncIterator[bytes]:
        for one in (b"a", b"b"):
            yield one

    assert [one async for one in setting.stream("Count")] == [b"0", b"1", b"2"]
    collect: Any = setting.channel.stream_unary(f"/{SERVICE}/Collect")
    assert await collect(requests(), metadata=GOOD, timeout=DEADLINE) == b"ab"
    echo: Any = setting.channel.stream_stream(f"/{SERVICE}/Echo")
    assert [one async for one in echo(requests(), metadata=GOOD, timeout=DEADLINE)] == [b"a", b"b"]


async def test_an_error_after_messages_ends_the_stream_with_its_status(setting: Setting) -> None:
    call = setting.stream("Count", b"fail")
    received = [await call.read() for _ in range(3)]
    assert received == [b"0", b"1", b"2"]
    error = await _refused(call.read())
    assert error_of(error).reason == "THING_NOT_FOUND"


async def test_a_cancelled_stream_closes_its_handler(setting: Setting) -> None:
    call = setting.stream("Watch")
    assert await call.read() == b"first"
    call.cancel()
    await asyncio.wait_for(setting.sample.closed.wait(), DEADLINE)


async def test_a_deadline_ends_the_call_and_closes_its_handler(setting: Setting) -> None:
    watch: Any = setting.channel.unary_stream(f"/{SERVICE}/Watch")
    call = watch(b"", metadata=GOOD, timeout=1)
    assert await call.read() == b"first"
    assert (await _refused(call.read())).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(setting.sample.closed.wait(), DEADLINE)


async def test_who_stops_waiting_for_an_answer_cancels_the_call(setting: Setting) -> None:
    call = setting.stream("Watch")
    assert await call.read() == b"first"
    reading = asyncio.create_task(call.read())
    await asyncio.wait({reading}, timeout=0.1)
    reading.cancel()
    await asyncio.wait({reading}, timeout=DEADLINE)
    assert reading.cancelled()
    assert await call.code() is grpc.StatusCode.CANCELLED
    await asyncio.wait_for(setting.sample.closed.wait(), DEADLINE)


async def test_a_handler_waits_for_a_reader_that_is_slow(setting: Setting) -> None:
    call = setting.stream("Flood")
    assert len(await call.read()) == FLOOD_BYTES
    await asyncio.wait({asyncio.ensure_future(call.code())}, timeout=0.3)
    assert setting.sample.sent < FLOOD
    for _ in range(FLOOD - 1):
        assert len(await call.read()) == FLOOD_BYTES
    assert await call.read() is grpc.aio.EOF
    assert setting.sample.sent == FLOOD


async def test_a_revoked_credential_is_forgotten_and_its_streams_end(setting: Setting) -> None:
    call = setting.stream("Watch")
    assert await call.read() == b"first"
    setting.secrets.good.clear()
    setting.server.forget("c1")
    error = await _refused(call.read())
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert error_of(error).reason == "CREDENTIAL_REVOKED"
    await asyncio.wait_for(setting.sample.closed.wait(), DEADLINE)
    assert (await _refused(setting.unary("Who"))).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_the_sweep_ends_streams_of_a_revoked_credential_without_the_event(setting: Setting) -> None:
    call = setting.stream("Watch")
    assert await call.read() == b"first"
    setting.secrets.good.clear()
    error = await _refused(call.read())
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_one_secret_is_asked_for_once_by_many_callers(setting: Setting) -> None:
    await asyncio.gather(*(setting.unary("Who") for _ in range(20)))
    assert setting.secrets.asked == 1


@pytest.mark.parametrize("local", [False, True], ids=["socket", "same process"])
async def test_a_stopping_server_says_so_and_ends_endless_streams(local: bool) -> None:
    async with _open_setting(local=local) as setting:
        health: Any = health_pb2_grpc.HealthStub(setting.channel)
        for service in ("", SERVICE):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=DEADLINE)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        call = setting.stream("Watch")
        assert await call.read() == b"first"
        ended = asyncio.create_task(_refused(call.read()))
        began = asyncio.get_running_loop().time()
    # Not closed by hand: leaving the block stops the server, and the stream does not hold it up.
    error = await asyncio.wait_for(ended, DEADLINE)
    assert asyncio.get_running_loop().time() - began < 5
    assert error_of(error).reason == "SERVER_STOPPING"


async def test_a_taken_port_is_an_error() -> None:
    async with open_server(address="127.0.0.1:0") as first:
        with pytest.raises(OSError, match="cannot be bound"):
            async with open_server(address=first.address):
                pass
