"""The one server interceptor. For every call, whatever its shape:

1. take the request id, or make one, and bind the log context; 2. authenticate; 3. check the method's rule;
4. run the handler; 5. turn what it raised into a status; 6. write one log line.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, nullcontext
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc.aio import AioRpcError, ServicerContext

from services.common.errors import DomainError, InvalidArgument, PermissionDenied
from services.common.rpc.authentication import Authentication
from services.common.rpc.metadata import request_id_of, set_request_id
from services.common.rpc.principal import set_principal
from services.common.rpc.rule import Rule
from services.common.rpc.running_calls import RunningCall, RunningCalls
from services.common.status import DETAILS_KEY, error_of, kind_of, status_of

RPC_FINISHED = "rpc_finished"
RPC_CRASHED = "rpc_crashed"

_log = structlog.get_logger()

# Quoted: generic in the stubs only.
_Context: TypeAlias = "ServicerContext[Any, Any]"
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_MaybeHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
_Behaviour: TypeAlias = "Callable[[Any, _Context], Awaitable[Any]]"


class Interceptor(grpc.aio.ServerInterceptor):
    """Stands before every handler of a server."""

    def __init__(self, *, running: RunningCalls) -> None:
        self._running = running
        self._rules: dict[str, Rule] = {}
        self._authentication = Authentication(service_credentials=(), authenticators=())
        self._wrapped: dict[str, _Handler] = {}

    def admit(self, *, rules: dict[str, Rule], authentication: Authentication) -> None:
        """Set who may call what; before that, nobody may call anything."""
        self._rules, self._authentication = dict(rules), authentication

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_MaybeHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _MaybeHandler:
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None  # gRPC answers UNIMPLEMENTED
            wrapped = self._wrapped[method] = self.wrap(method, handler)
        return wrapped

    def wrap(self, method: str, handler: Any) -> _Handler:
        """The handler of `method` with all of the above before it."""
        codec = {
            "request_deserializer": _reading(handler.request_deserializer, streams=handler.request_streaming),
            "response_serializer": handler.response_serializer,
        }
        if handler.request_streaming and handler.response_streaming:
            served = self._serving(method, _relaying(handler.stream_stream), streams=True)
            return grpc.stream_stream_rpc_method_handler(served, **codec)
        if handler.request_streaming:
            served = self._serving(method, handler.stream_unary, streams=True)
            return grpc.stream_unary_rpc_method_handler(served, **codec)
        if handler.response_streaming:
            served = self._serving(method, _relaying(handler.unary_stream), streams=True)
            return grpc.unary_stream_rpc_method_handler(served, **codec)
        return grpc.unary_unary_rpc_method_handler(self._serving(method, handler.unary_unary, streams=False), **codec)

    def _serving(self, method: str, behaviour: _Behaviour, *, streams: bool) -> Any:
        async def serve(request: Any, context: _Context) -> Any:
            metadata = dict(context.invocation_metadata() or ())
            request_id = request_id_of(metadata)
            set_request_id(request_id)
            structlog.contextvars.clear_contextvars()
            structlog.contextvars.bind_contextvars(request_id=request_id, method=method)
            started, code, level = time.perf_counter(), grpc.StatusCode.OK, "info"
            try:
                return await self._admitted(method, behaviour, request, context, metadata, streams=streams)
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except Exception as error:
                code, level = _code_of(error, context)
                await _abort(error, context, request_id)
            finally:
                _log.log(
                    _LEVELS[level],
                    RPC_FINISHED,
                    code=code.name,
                    duration_ms=round((time.perf_counter() - started) * 1000, 3),
                )

        return serve

    async def _admitted(
        self,
        method: str,
        behaviour: _Behaviour,
        request: Any,
        context: _Context,
        metadata: dict[str, str | bytes],
        *,
        streams: bool,
    ) -> Any:
        rule = self._rules.get(method)
        if rule is None:
            raise PermissionDenied("Nobody may call this method.", reason="NO_RULE")
        if rule.public:
            return await behaviour(_readable(request), context)
        principal = await self._authentication.principal_of(metadata)
        structlog.contextvars.bind_contextvars(team_id=principal.team_id, credential_id=principal.credential_id)
        rule.check(principal)
        set_principal(principal)
        task = asyncio.current_task()
        assert task is not None
        call = RunningCall(credential_id=principal.credential_id, metadata=metadata, endless=rule.endless, task=task)
        try:
            # A file token's stream may outlive the token, and is no credential that could be revoked.
            with self._running.registered(call) if streams and principal.grant is None else nullcontext():
                return await behaviour(_readable(request), context)
        except asyncio.CancelledError:
            # Never swallowed when it comes from outside: grpc.aio would leak the call.
            if call.ended_by is None or task.uncancel() > 0:
                raise
            raise call.ended_by from None


_LEVELS = {"info": 20, "warning": 30, "error": 40}


class _Unreadable:
    """Stands for bytes that are no message of the method's, until the call is under way and can be refused."""


_UNREADABLE = _Unreadable()


def _reading(deserialize: Callable[[bytes], Any] | None, *, streams: bool) -> Callable[[bytes], Any] | None:
    """The deserializer, for bytes from anybody: gRPC answers what it raises with UNKNOWN and words about our insides.

    In a stream the handler reads, so that what is raised there is the call's error.
    """
    if deserialize is None:
        return None

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _readable(_UNREADABLE) if streams else _UNREADABLE

    return read


def _readable(request: Any) -> Any:
    if request is _UNREADABLE:
        raise InvalidArgument("The request's bytes are no message of this method.", reason="UNREADABLE_MESSAGE")
    return request


def _relaying(behaviour: Callable[[Any, _Context], Any]) -> _Behaviour:
    """A streaming handler as one coroutine that writes: every wait is then inside of `serve`, sending too."""
    if not inspect.isasyncgenfunction(behaviour):
        return behaviour

    async def relay(request: Any, context: _Context) -> None:
        responses: AsyncIterator[Any] = behaviour(request, context)
        async with aclosing(responses) as open_responses:  # type: ignore[type-var]  # an async generator, as checked
            async for response in open_responses:
                await context.write(response)

    return relay


def _code_of(error: Exception, context: _Context) -> tuple[grpc.StatusCode, str]:
    if isinstance(error, grpc.aio.AbortError):
        said: Any = context.code()  # gRPC keeps the number that it sent
        return next(
            (code for code in grpc.StatusCode if said in (code, code.value[0])), grpc.StatusCode.UNKNOWN
        ), "info"
    kind = kind_of(_domain(error))
    return kind.code, kind.log_level


def _domain(error: Exception) -> Exception:
    return error_of(error) if isinstance(error, AioRpcError) else error


async def _abort(error: Exception, context: _Context, request_id: str) -> None:
    """End the call with the status of `error`; what is not a domain error is told to the log only."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    error = _domain(error)
    if isinstance(error, DomainError):
        status = status_of(error)
        await context.abort(kind_of(error).code, status.message, ((DETAILS_KEY, status.SerializeToString()),))
    _log.error(RPC_CRASHED, exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, f"Internal error; its request id is {request_id}.")
