"""A gRPC server that carries any number of rooms, with health and reflection."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.common.clock import Clock, SystemClock
from services.common.rpc.authentication import Authentication, Authenticator, CachedAuthenticator
from services.common.rpc.interceptor import Interceptor
from services.common.rpc.local_channel import LocalMethods
from services.common.rpc.options import SERVER_OPTIONS
from services.common.rpc.rule import Rule, anyone
from services.common.rpc.running_calls import RunningCalls

SWEEP_FAILED = "revocation_sweep_failed"
GRACE = timedelta(seconds=10)
SWEEP_EVERY = timedelta(seconds=4)
"""A stream of a revoked credential lives no longer than this and one question, where nobody tells us."""

_log = structlog.get_logger()

_OPEN_METHODS = (
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/List",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)


@dataclass(frozen=True, kw_only=True)
class Member:
    """One room as a server sees it."""

    name: str
    """`run`, `file`, …"""
    register: Callable[[grpc.aio.Server], None]
    """Adds the room's servicers."""
    rules: Mapping[str, Rule]
    """Every method of its services, by full path; a method without a rule is refused."""
    authenticators: tuple[Authenticator, ...] = ()
    """Sorts of secret that this room alone knows, such as file tokens."""

    @property
    def services(self) -> list[str]:
        """Full names of its services."""
        return sorted({path.split("/")[1] for path in self.rules})


class RoomServer:
    """A server bound to its port. It serves inside of `serving`, and can be told of revoked credentials."""

    def __init__(
        self, *, server: grpc.aio.Server, host: str, port: int, interceptor: Interceptor, running: RunningCalls
    ) -> None:
        self._server = server
        self._interceptor = interceptor
        self._running = running
        self._cached: CachedAuthenticator | None = None
        self.port = port
        self.address = f"{host}:{port}"
        self.methods = LocalMethods(address=self.address, wrap=interceptor.wrap)
        """For channels to this address that are opened in this process."""

    @asynccontextmanager
    async def serving(
        self,
        members: Sequence[Member],
        *,
        authenticator: Authenticator,
        service_credentials: Sequence[str] = (),
        with_reflection: bool = True,
        clock: Clock | None = None,
    ) -> AsyncIterator[None]:
        """Serve `members` until the block ends, then stop in this order.

        (1) health says NOT_SERVING; (2) endless streams end with UNAVAILABLE and no new call is taken; (3) the others
        have `GRACE` to finish; (4) what is left is cancelled.
        """
        self._cached = CachedAuthenticator(authenticator, clock=clock or SystemClock())
        local = [one for member in members for one in member.authenticators]
        authentication = Authentication(service_credentials=service_credentials, authenticators=[*local, self._cached])
        rules = {path: rule for member in members for path, rule in member.rules.items()}
        self._interceptor.admit(
            rules={**dict.fromkeys(_OPEN_METHODS, anyone()), **rules}, authentication=authentication
        )
        checks = await self._register(members, with_reflection=with_reflection)
        await self._server.start()
        self.methods.accepting = True
        # It asks past the cache, whose answer may be as old as itself.
        uncached = Authentication(service_credentials=service_credentials, authenticators=[*local, authenticator])
        sweep = asyncio.create_task(self._sweep(uncached), name="revocation-sweep")
        try:
            yield
        finally:
            sweep.cancel()
            await asyncio.shield(self._stop(checks))

    def forget(self, credential_id: str) -> None:
        """Refuse this credential from now on unless it is asked for anew and good; end its streams."""
        if self._cached is not None:
            self._cached.forget(credential_id)
        self._running.revoke(credential_id)

    async def _register(self, members: Sequence[Member], *, with_reflection: bool) -> health.aio.HealthServicer:
        names = [service for member in members for service in member.services]
        for member in members:
            self.methods.register(member.register, self._server)
        checks = health.aio.HealthServicer()
        self.methods.register(lambda server: health_pb2_grpc.add_HealthServicer_to_server(checks, server), self._server)
        for name in ("", *names):
            await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
        if with_reflection:
            reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server)
        return checks

    async def _sweep(self, authentication: Authentication) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY.total_seconds())
            try:
                await self._running.check_again(authentication)
            except Exception:  # the next round asks again; without it a revoked stream could live for ever
                _log.exception(SWEEP_FAILED)

    async def _stop(self, checks: health.aio.HealthServicer) -> None:
        await checks.enter_graceful_shutdown()
        self.methods.accepting = False
        stopping = asyncio.ensure_future(self._server.stop(GRACE.total_seconds()))
        self._running.stop_endless()
        await asyncio.gather(stopping, self.methods.finish(GRACE.total_seconds()))


@asynccontextmanager
async def open_server(*, address: str) -> AsyncIterator[RoomServer]:
    """A server bound to `address` (`host:port`, port 0 for a free one), so that its peers can be told where it will be.

    OSError if the address is taken.
    """
    running = RunningCalls()
    interceptor = Interceptor(running=running)
    server = grpc.aio.server(interceptors=[interceptor], options=SERVER_OPTIONS)
    host = address.rpartition(":")[0]
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"{address} cannot be bound: {error}") from error
    try:
        yield RoomServer(server=server, host=host, port=port, interceptor=interceptor, running=running)
    finally:
        await asyncio.shield(server.stop(0))
