"""A gateway in front of scripted rooms, with clients for both of its listeners."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc

from gateway.porch import open_gateway
from services.common.rpc.options import CHANNEL_OPTIONS
from tests.rpc.scripted_rooms import ScriptedRooms

MAX_FILE_BYTES = 32 * 1024 * 1024


@dataclass(kw_only=True)
class RigSettings:
    """Settings of the gateway under test."""

    registry_address: str
    access_address: str
    run_address: str
    file_address: str
    http_listen: str = "127.0.0.1:0"
    grpc_listen: str = "127.0.0.1:0"
    public_url: str | None = None
    trusted_proxies: list[str] = field(default_factory=list)
    max_file_bytes: int = MAX_FILE_BYTES
    reflection: bool = True


@dataclass(kw_only=True)
class Rig:
    """The gateway and what is around it."""

    rooms: ScriptedRooms
    url: str
    http: aiohttp.ClientSession
    channel: grpc.aio.Channel
    http_port: int


def settings_for(rooms: ScriptedRooms, **settings: Any) -> RigSettings:
    """Settings of a gateway in front of `rooms`."""
    address = rooms.address
    return RigSettings(
        registry_address=address, access_address=address, run_address=address, file_address=address, **settings
    )


@asynccontextmanager
async def open_rig(*, heartbeat: float = 15.0, send_timeout: float = 30.0, **settings: Any) -> AsyncIterator[Rig]:
    """A rig that is served until the block ends."""
    async with (
        ScriptedRooms().serving() as rooms,
        open_gateway(
            settings=settings_for(rooms, **settings), heartbeat=heartbeat, send_timeout=send_timeout
        ) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}", options=CHANNEL_OPTIONS) as channel,
        aiohttp.ClientSession(headers={"authorization": "Bearer sk-test"}) as http,
        asyncio.timeout(30),
    ):
        yield Rig(
            rooms=rooms,
            url=f"http://127.0.0.1:{gateway.http_port}",
            http=http,
            channel=channel,
            http_port=gateway.http_port,
        )


@dataclass(frozen=True, kw_only=True)
class Event:
    """One server-sent event."""

    id: str | None
    name: str
    data: str


async def frames(response: aiohttp.ClientResponse) -> AsyncIterator[str]:
    """The blocks of a stream, comments too."""
    block: list[str] = []
    async for line in response.content:
        text = line.decode().rstrip("\n")
        if text:
            block.append(text)
        elif block:
            yield "\n".join(block)
            block = []


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """The events of a stream."""
    async for block in frames(response):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if "event" in fields:
            yield Event(id=fields.get("id"), name=fields["event"], data=fields["data"])
