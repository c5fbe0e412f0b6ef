"""Channels to other rooms: one per target for the life of the process.

The request id of the running task, and the room's own credential, are added to each call here rather than by gRPC's
client interceptors, which cost a task per call.
"""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc.aio import Channel

from services.common.rpc.local_channel import LocalChannel, LocalMethods
from services.common.rpc.metadata import REQUEST_ID, bearer, current_request_id
from services.common.rpc.options import CHANNEL_OPTIONS

_Metadata = Iterable[tuple[str, str | bytes]]


@asynccontextmanager
async def open_channel(
    address: str,
    *,
    service_credential: str | None = None,
    idempotent: Sequence[str] = (),
    here: LocalMethods | None = None,
) -> AsyncIterator[Channel]:
    """A channel to `address`, connected when first used and again whenever it is lost.

    `service_credential` goes with every call (add `for_team(…)` to act for one). The methods named `idempotent`
    (`comfyfleet.registry.v1.RegistryService/GetWorkflow`, or a service alone for all of its methods) are tried up to
    four times on UNAVAILABLE, within the caller's deadline. `here`: what this process serves itself; if that is what
    is at `address`, calls go there without a socket, and once.
    """
    options: list[tuple[str, Any]] = [*CHANNEL_OPTIONS]
    if idempotent:
        options.append(("grpc.service_config", _retrying(idempotent)))
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        if here is not None and here.address == address:
            channel = LocalChannel(here, channel)
        yield _CallingChannel(channel, bearer(service_credential) if service_credential else ())


def _retrying(methods: Sequence[str]) -> str:
    names = [dict(zip(("service", "method"), method.split("/"), strict=False)) for method in methods]
    policy = {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": policy}]})


class _CallingChannel(Channel):
    """A channel whose calls carry the metadata of the task that makes them."""

    def __init__(self, channel: Channel, metadata: _Metadata) -> None:
        self._channel = channel
        self._metadata = tuple(metadata)

    def _calling(self, multicallable: Any) -> Any:
        def call(*request: Any, metadata: _Metadata | None = None, **options: Any) -> Any:
            request_id = current_request_id()
            added = self._metadata if request_id is None else (*self._metadata, (REQUEST_ID, request_id))
            return multicallable(*request, metadata=(*(metadata or ()), *added), **options)

        return call

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        return self._calling(self._channel.unary_unary(*arguments, **options))

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        return self._calling(self._channel.unary_stream(*arguments, **options))

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        return self._calling(self._channel.stream_unary(*arguments, **options))

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        return self._calling(self._channel.stream_stream(*arguments, **options))

    async def close(self, grace: float | None = None) -> None:
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    async def __aenter__(self) -> "_CallingChannel":
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()
