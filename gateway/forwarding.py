"""Hands gRPC calls on to the rooms as raw bytes, whatever their shape; nothing is decoded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, NoReturn

import grpc
import structlog
from grpc_status import rpc_status

from gateway import request_stream
from gateway.caller import INNER_METADATA, refuse_service_credential
from gateway.methods import known_methods
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

Ask = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
Watch = grpc.aio.UnaryStreamMultiCallable[bytes, bytes]
UnaryCall = grpc.aio.UnaryUnaryCall[bytes, bytes]
ServerStream = grpc.aio.UnaryStreamCall[bytes, bytes]
BothStreams = grpc.aio.StreamStreamCall[bytes, bytes]
Context = grpc.aio.ServicerContext[bytes, bytes]
Metadata = list[tuple[str, str | bytes]]


class Forwarder(grpc.GenericRpcHandler):
    """Forwards every method of the services it knows.

    On the wire a unary call is a stream of one message, so a stream both ways serves all shapes, and those methods
    too that only a newer room knows. Known methods with one request go in their own shape, at less than half the
    cost. Metadata, deadline, cancellation, trailers and status details go through unchanged, except what only rooms
    may say.
    """

    def __init__(self, channels: Mapping[str, grpc.aio.Channel]) -> None:
        """`channels`: by full name of the service."""
        self._channels = channels
        self._endless: set[ServerStream | BothStreams] = set()
        self._stopping = False
        self._handlers: dict[str, Any] = {}
        for method in known_methods():
            name = method.containing_service.full_name
            if name in channels and not method.client_streaming:
                make = self._server_stream if method.server_streaming else self._unary
                path = f"/{name}/{method.name}"
                self._handlers[path] = make(channels[name], path)

    def service(self, handler_call_details: Any) -> Any:
        """The handler of one call; None (UNIMPLEMENTED) where the service is not ours to forward."""
        path: str = handler_call_details.method
        if (known := self._handlers.get(path)) is not None:
            return known
        channel = self._channels.get(path.rpartition("/")[0].removeprefix("/"))
        return None if channel is None else self._both_streams(channel, path)

    def stop(self) -> None:
        """End the calls that would not end by themselves with UNAVAILABLE: their callers dial again."""
        self._stopping = True
        for call in list(self._endless):
            call.cancel()

    def _unary(self, channel: grpc.aio.Channel, path: str) -> Any:
        ask: Ask = channel.unary_unary(path)

        async def forward(request: bytes, context: Context) -> bytes:
            metadata = await _metadata(context)
            call: UnaryCall = ask(request, metadata=metadata, timeout=context.time_remaining())
            try:
                answer = await call
            except grpc.aio.AioRpcError:
                await _end(call, context)
                return b""
            if initial := await call.initial_metadata():
                await context.send_initial_metadata(tuple(initial))
            if trailers := await call.trailing_metadata():
                context.set_trailing_metadata(tuple(trailers))
            return answer

        return grpc.unary_unary_rpc_method_handler(forward)

    def _server_stream(self, channel: grpc.aio.Channel, path: str) -> Any:
        ask: Watch = channel.unary_stream(path)
        endless = path.rpartition("/")[2] in ENDLESS

        async def forward(request: bytes, context: Context) -> None:
            metadata = await _metadata(context)
            call: ServerStream = ask(request, metadata=metadata, timeout=context.time_remaining())
            await self._answer(call, _whole_head(call, context), context, endless=endless)

        return grpc.unary_stream_rpc_method_handler(forward)

    def _both_streams(self, channel: grpc.aio.Channel, path: str) -> Any:
        name = path.rpartition("/")[2]
        settle = CUT_SHOWS if name in WHOLE else 0.0

        async def forward(requests: AsyncIterator[bytes], context: Context) -> None:
            metadata = await _metadata(context)
            call: BothStreams = channel.stream_stream(path)(metadata=metadata, timeout=context.time_remaining())
            pump = asyncio.create_task(_pump(requests, call, settle), name="forward-requests")
            try:
                await self._answer(call, _early_head(call, context), context, endless=name in ENDLESS)
            finally:
                pump.cancel()

        return grpc.stream_stream_rpc_method_handler(forward)

    async def _answer(
        self, call: ServerStream | BothStreams, first: Awaitable[object], context: Context, *, endless: bool
    ) -> None:
        """Whatever the room says from its `first` message on; nothing stays behind, also when the caller cancels."""
        if endless:
            self._endless.add(call)
        try:
            await _relay(call, first, context)
            if self._stopping and call in self._endless:
                await _abort(context, Unavailable("This server is stopping; connect again.", reason="SERVER_STOPPING"))
            await _end(call, context)
        finally:
            self._endless.discard(call)
            call.cancel()


async def _metadata(context: Context) -> Metadata:
    """What the room gets to see; the call is refused where it brings a room's own credential."""
    metadata = [pair for pair in context.invocation_metadata() or () if _is_forwarded(pair[0])]
    try:
        refuse_service_credential(metadata)
    except DomainError as refusal:
        await _abort(context, refusal)
    return metadata


async def _pump(requests: AsyncIterator[bytes], call: BothStreams, settle: float) -> None:
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


async def _relay(call: ServerStream | BothStreams, first: Awaitable[object], context: Context) -> None:
    """Answers, in the rhythm in which the caller takes them."""
    try:
        message = await first
        while message is not grpc.aio.EOF:
            assert isinstance(message, bytes)
            await context.write(message)
            message = await call.read()
    except grpc.aio.AioRpcError:
        return  # told from the call itself
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise


async def _end(call: UnaryCall | ServerStream | BothStreams, context: Context) -> None:
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


async def _whole_head(call: ServerStream, context: Context) -> object:
    """The first answer to a request that is here as a whole. Rooms send initial metadata with it, so do we."""
    message = await call.read()
    if initial := await call.initial_metadata():
        await context.send_initial_metadata(tuple(initial))
    return message


async def _early_head(call: BothStreams, context: Context) -> object:
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
