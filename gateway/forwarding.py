"""Hands gRPC calls on to the rooms as raw bytes, whatever their shape; nothing is decoded."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, NoReturn

import grpc
import structlog
from grpc_status import rpc_status

from gateway import request_stream
from gateway.caller import INNER_METADATA, refuse_service_credential
from services.common.errors import DomainError, Unavailable
from services.common.status import status_of

FORWARDING_FAILED = "forwarding_failed"

_log = structlog.get_logger()

ENDLESS = frozenset({"Synchronize", "PublishPreviews", "WatchRun", "WatchRuns", "ExecuteRun"})
"""Methods whose calls may outlast any grace period."""
WHOLE = frozenset({"UploadFile", "UploadCatalogue"})
"""Methods to which the end of the requests says that nothing is missing."""
CUT_SHOWS = 0.01
"""Seconds after which a stream that was cut is known to be: at first grpcio shows the same end as of a complete one
(within 0.3 ms, where it was measured)."""
PROMPT = 0.05
"""Seconds in which an answer, or a refusal, may follow the room's initial metadata."""

_OWN_TO_A_HOP = ("grpc-", ":")
_NOT_FORWARDED = INNER_METADATA | {"user-agent", "te", "content-type"}

RawCall = grpc.aio.StreamStreamCall[bytes, bytes]
Context = grpc.aio.ServicerContext[bytes, bytes]


class Forwarder(grpc.GenericRpcHandler):
    """Forwards every method of the services it knows, each as a stream of messages both ways.

    On the wire a unary call is a stream of one message, so one shape serves all four. Metadata, deadline,
    cancellation, trailers and status details go through unchanged, except what only rooms may say.
    """

    def __init__(self, channels: Mapping[str, grpc.aio.Channel]) -> None:
        """`channels`: by full name of the service."""
        self._channels = channels
        self._endless: set[RawCall] = set()
        self._stopping = False

    def service(self, handler_call_details: Any) -> Any:
        """The handler of one call; None (UNIMPLEMENTED) where the service is not ours to forward."""
        method: str = handler_call_details.method
        channel = self._channels.get(method.rpartition("/")[0].removeprefix("/"))
        if channel is None:
            return None

        async def forward(requests: AsyncIterator[bytes], context: Context) -> None:
            await self._forward(channel, method, requests, context)

        return grpc.stream_stream_rpc_method_handler(forward)

    def stop(self) -> None:
        """End the calls that would not end by themselves with UNAVAILABLE: their callers dial again."""
        self._stopping = True
        for call in list(self._endless):
            call.cancel()

    async def _forward(
        self, channel: grpc.aio.Channel, method: str, requests: AsyncIterator[bytes], context: Context
    ) -> None:
        metadata = [pair for pair in context.invocation_metadata() or () if _is_forwarded(pair[0])]
        try:
            refuse_service_credential(metadata)
        except DomainError as refusal:
            await _abort(context, refusal)
        call: RawCall = channel.stream_stream(method)(metadata=metadata, timeout=context.time_remaining())
        if method.rpartition("/")[2] in ENDLESS:
            self._endless.add(call)
        settle = CUT_SHOWS if method.rpartition("/")[2] in WHOLE else 0.0
        pump = asyncio.create_task(_pump(requests, call, settle), name="forward-requests")
        try:
            await _relay(call, context)
            if self._stopping and call in self._endless:
                await _abort(context, Unavailable("This server is stopping; connect again.", reason="SERVER_STOPPING"))
            await _end(call, context)
        finally:
            # Cancelled by the caller, or ended: either way nothing of this call stays behind.
            self._endless.discard(call)
            pump.cancel()
            call.cancel()


async def _pump(requests: AsyncIterator[bytes], call: RawCall, settle: float) -> None:
    """Requests, in the rhythm in which the room takes them; their end after `settle` seconds."""
    try:
        async for request in requests:
            if not await request_stream.send(call, request):
                return
        if settle:
            await asyncio.sleep(settle)  # a stream that was cut has this task cancelled meanwhile
        await request_stream.close(call)
    except grpc.aio.UsageError:
        return  # the caller's stream is gone; the handler's task is cancelled beside us


async def _relay(call: RawCall, context: Context) -> None:
    """Answers, in the rhythm in which the caller takes them."""
    try:
        message = await _first(call, context)
        while message is not grpc.aio.EOF:
            assert isinstance(message, bytes)
            await context.write(message)
            message = await call.read()
    except grpc.aio.AioRpcError:
        return  # told from the call itself
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise


async def _end(call: RawCall, context: Context) -> None:
    """The status of the room's call, and its trailers, as those of the caller's."""
    code, trailers = await call.code(), tuple(await call.trailing_metadata() or ())
    if code is grpc.StatusCode.UNAVAILABLE and not trailers:
        # gRPC's own words, which name inner addresses.
        _log.warning(FORWARDING_FAILED, details=await call.details())
        await _abort(context, Unavailable("A service behind this address is away for a moment.", reason=code.name))
    context.set_trailing_metadata(trailers)
    if code is not grpc.StatusCode.OK:
        context.set_code(code)
        context.set_details(await call.details() or "")


async def _abort(context: Context, error: DomainError) -> NoReturn:
    await context.abort_with_status(rpc_status.to_status(status_of(error)))
    raise AssertionError("abort raises")


async def _first(call: RawCall, context: Context) -> object:
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
