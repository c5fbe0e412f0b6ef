"""Hands gRPC calls on to the rooms as raw bytes, whatever their shape; nothing is decoded."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import structlog
from grpc_status import rpc_status

from gateway import request_stream
from gateway.caller import INNER_METADATA, refuse_service_credential
from services.common.errors import DomainError, Unavailable
from services.common.status import status_of

FORWARDING_FAILED = "forwarding_failed"

_log = structlog.get_logger()

PROMPT = 0.05
"""Seconds in which an answer, or a refusal, may follow the room's initial metadata."""

_OWN_TO_A_HOP = ("grpc-", ":")
_NOT_FORWARDED = INNER_METADATA | {"user-agent", "te", "content-type"}

RawCall = grpc.aio.StreamStreamCall[bytes, bytes]


class Forwarder(grpc.GenericRpcHandler):
    """Forwards every method of the services it knows, each as a stream of messages both ways.

    On the wire a unary call is a stream of one message, so one shape serves all four. Metadata, deadline,
    cancellation, trailers and status details go through unchanged, except what only rooms may say.
    """

    def __init__(self, channels: Mapping[str, grpc.aio.Channel]) -> None:
        """`channels`: by full name of the service."""
        self._channels = channels

    def service(self, handler_call_details: Any) -> Any:
        """The handler of one call; None (UNIMPLEMENTED) where the service is not ours to forward."""
        method: str = handler_call_details.method
        channel = self._channels.get(method.rpartition("/")[0].removeprefix("/"))
        if channel is None:
            return None

        async def forward(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
            await _forward(channel, method, requests, context)

        return grpc.stream_stream_rpc_method_handler(forward)


async def _forward(
    channel: grpc.aio.Channel,
    method: str,
    requests: AsyncIterator[bytes],
    context: grpc.aio.ServicerContext[bytes, bytes],
) -> None:
    metadata = [pair for pair in context.invocation_metadata() or () if _is_forwarded(pair[0])]
    try:
        refuse_service_credential(metadata)
    except DomainError as refusal:
        await context.abort_with_status(rpc_status.to_status(status_of(refusal)))
    call: RawCall = channel.stream_stream(method)(metadata=metadata, timeout=context.time_remaining())
    pump = asyncio.create_task(_pump(requests, call), name="forward-requests")
    try:
        await _relay(call, context)
    finally:
        # Cancelled by the caller, or ended: either way nothing of this call stays behind.
        pump.cancel()
        call.cancel()


async def _pump(requests: AsyncIterator[bytes], call: RawCall) -> None:
    """Requests, in the rhythm in which the room takes them."""
    try:
        async for request in requests:
            if not await request_stream.send(call, request):
                return
        await request_stream.close(call)
    except grpc.aio.UsageError:
        return  # the caller's stream is gone; the handler's task is cancelled beside us


async def _relay(call: RawCall, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
    """Answers and then the status, in the rhythm in which the caller takes them."""
    try:
        message = await _first(call, context)
        while message is not grpc.aio.EOF:
            assert isinstance(message, bytes)
            await context.write(message)
            message = await call.read()
    except grpc.aio.AioRpcError:
        pass  # told below, from the call itself
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
    code = await call.code()
    context.set_trailing_metadata(tuple(await call.trailing_metadata() or ()))
    if code is grpc.StatusCode.OK:
        return
    if code is grpc.StatusCode.UNAVAILABLE and not await call.trailing_metadata():
        _log.warning(FORWARDING_FAILED, details=await call.details())
        away = Unavailable("The room behind this address is away for a moment.", reason="UNAVAILABLE")
        await context.abort_with_status(rpc_status.to_status(status_of(away)))
    context.set_code(code)
    context.set_details(await call.details() or "")


async def _first(call: RawCall, context: grpc.aio.ServicerContext[bytes, bytes]) -> object:
    """The first answer, initial metadata sent before it.

    A call that is refused has trailers only, here as at the room: a client still writing would otherwise lose the
    status to the reset that follows.
    """
    initial = tuple(await call.initial_metadata() or ())
    reading = asyncio.ensure_future(call.read())
    try:
        await asyncio.wait({reading}, timeout=PROMPT)
        if initial or not reading.done() or reading.result() is not grpc.aio.EOF:
            await context.send_initial_metadata(initial)
        return await reading
    finally:
        reading.cancel()


def _is_forwarded(key: str) -> bool:
    return key not in _NOT_FORWARDED and not key.startswith(_OWN_TO_A_HOP)
