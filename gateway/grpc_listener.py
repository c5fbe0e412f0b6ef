"""The one public gRPC address: every room's methods forwarded, with health and reflection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gateway.forwarding import Forwarder
from gateway.health import HealthServicer, RoomsHealth
from gateway.methods import known_methods
from gateway.rooms import SERVICES
from services.common.rpc.options import SERVER_OPTIONS

GRACE = 10.0
"""Seconds that calls under way have to finish; endless ones are cut then, and dial again."""


@asynccontextmanager
async def open_grpc_listener(
    *, forwarder: Forwarder, health_of: RoomsHealth, address: str, with_reflection: bool, grace: float = GRACE
) -> AsyncIterator[int]:
    """Serve at `address` (`host:port`, port 0 for a free one); gives the port. OSError if the address is taken."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers([forwarder])
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(health_of), server)
    if with_reflection:
        # Reflection describes what is loaded.
        assert {method.containing_service.full_name for method in known_methods()} == set(SERVICES)
        reflection.enable_server_reflection([*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"{address} cannot be bound: {error}") from error
    await server.start()
    try:
        yield port
    finally:
        await asyncio.shield(server.stop(grace))
