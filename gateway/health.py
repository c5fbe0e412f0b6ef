"""Whether the rooms serve: asked of each, when somebody asks us."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.rooms import SERVICES

CHECK_TIMEOUT = 2.0
WATCH_PAUSE = 1.0
"""Seconds between two looks while somebody watches."""

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class RoomsHealth:
    """The health of the services behind the porch."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel]) -> None:
        """`channels`: by name of the room."""
        self._checks: dict[str, Any] = {room: health_pb2_grpc.HealthStub(channel) for room, channel in channels.items()}
        self.stopping = False

    async def service(self, name: str) -> int | None:
        """The health of one service, of everything for the empty name; None for a service that is not behind us."""
        if self.stopping:
            return _NOT_SERVING
        if name == "":
            return _SERVING if not await self.away() else _NOT_SERVING
        return await self._ask(SERVICES[name], name) if name in SERVICES else None

    async def away(self) -> list[str]:
        """The rooms that do not serve."""
        services = sorted(SERVICES.items())
        found = await asyncio.gather(*(self._ask(room, service) for service, room in services))
        return sorted({room for (_, room), status in zip(services, found, strict=True) if status != _SERVING})

    async def _ask(self, room: str, service: str) -> int:
        try:
            got = await self._checks[room].Check(health_pb2.HealthCheckRequest(service=service), timeout=CHECK_TIMEOUT)
        except grpc.aio.AioRpcError:
            return _NOT_SERVING
        status: int = got.status
        return status


class HealthServicer(health_pb2_grpc.HealthServicer):
    """`grpc.health.v1` of the public address."""

    def __init__(self, rooms: RoomsHealth) -> None:
        self._rooms = rooms

    async def Check(
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse],
    ) -> health_pb2.HealthCheckResponse:
        """The health of one service now."""
        status = await self._rooms.service(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service behind this address.")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(
        self,
        request: health_pb2.HealthCheckRequest,
        _context: grpc.aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse],
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The health of one service now, and whenever it has changed."""
        last: int | None = None
        while True:
            status = await self._rooms.service(request.service)
            if status is None:
                status = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if status != last:
                yield health_pb2.HealthCheckResponse(status=status)
            if self._rooms.stopping:
                return
            last = status
            await asyncio.sleep(WATCH_PAUSE)

    async def List(self, _request: Any, _context: Any) -> Any:
        """The health of everything. (The stubs of the health package do not know this newer method.)"""
        names = ["", *SERVICES]
        found = await asyncio.gather(*(self._rooms.service(name) for name in names))
        statuses = {
            name: health_pb2.HealthCheckResponse(status=status) for name, status in zip(names, found, strict=True)
        }
        answer: Any = health_pb2
        return answer.HealthListResponse(statuses=statuses)
