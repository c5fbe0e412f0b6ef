"""Opens the gateway: the REST listener and the public gRPC listener over the rooms."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gateway.app import make_app
from gateway.door import Door
from gateway.forwarding import Forwarder
from gateway.grpc_listener import open_grpc_listener
from gateway.health import RoomsHealth
from gateway.http_listener import open_http_listener
from gateway.links import Links
from gateway.presence import OpenStreams
from gateway.rooms import SERVICES, Rooms, open_rooms
from gateway.settings import GatewaySettings

HEARTBEAT = 15.0
SEND_TIMEOUT = 30.0


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """An open gateway."""

    http_port: int
    grpc_port: int


@asynccontextmanager
async def open_gateway(
    *,
    settings: GatewaySettings,
    rooms: Rooms | None = None,
    heartbeat: float = HEARTBEAT,
    send_timeout: float = SEND_TIMEOUT,
) -> AsyncIterator[Gateway]:
    """Serve until the block ends. Rooms need not be up: calls to one that is away are refused with UNAVAILABLE.

    `rooms`: channels that the caller owns; None: our own, to the addresses in `settings`. `heartbeat`: seconds of
    silence after which an event stream says that it lives. `send_timeout`: seconds after which a client that reads
    nothing is cut off. OSError if an address is taken.

    Stops in this order: (1) health says NOT_SERVING; (2) endless streams of both listeners end, their
    clients come again; (3) the REST listener drains; (4) the gRPC listener drains; (5) our channels close.
    """
    async with AsyncExitStack() as stack:
        behind = rooms if rooms is not None else await stack.enter_async_context(open_rooms(settings))
        health, streams = RoomsHealth(behind.channels), OpenStreams()
        forwarder = Forwarder({service: behind.channels[room] for service, room in SERVICES.items()})
        grpc_port = await stack.enter_async_context(
            open_grpc_listener(
                forwarder=forwarder, health_of=health, address=settings.grpc_listen, with_reflection=settings.reflection
            )
        )
        app = make_app(
            rooms=behind,
            streams=streams,
            health=health,
            max_file_bytes=settings.max_file_bytes,
            heartbeat=heartbeat,
            send_timeout=send_timeout,
        )
        links = Links(
            public_url=settings.public_url,
            trusted_proxies=settings.trusted_proxies,
            default_authority=settings.http_listen,
        )
        http_port = await stack.enter_async_context(
            open_http_listener(Door(app, links=links), address=settings.http_listen)
        )
        try:
            yield Gateway(http_port=http_port, grpc_port=grpc_port)
        finally:
            health.stopping = True
            streams.stop()
            forwarder.stop()
