"""The caller's end of a call inside of one process: what `grpc.aio` gives for one over a connection."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import grpc
from grpc.aio import AioRpcError, Metadata

from services.common.rpc.exchange import Codec, Exchange, coded


class LocalCall:
    """What calls of both shapes have."""

    def __init__(self, exchange: Exchange, *, deserialize: Codec) -> None:
        self._exchange = exchange
        self._deserialize = deserialize

    def cancel(self) -> bool:
        return self._exchange.cancel()

    def cancelled(self) -> bool:
        return self._exchange.cancelled()

    def done(self) -> bool:
        return self._exchange.done()

    def time_remaining(self) -> float | None:
        return self._exchange.time_remaining()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self.done():
            callback(self)
        else:
            self._exchange.add_done_callback(lambda _exchange: callback(self))

    async def initial_metadata(self) -> Metadata:
        await self._exchange.begun.wait()
        return self._exchange.initial

    async def trailing_metadata(self) -> Metadata:
        await self._exchange.ended.wait()
        return self._exchange.trailing

    async def code(self) -> grpc.StatusCode:
        return (await self._status())[0]

    async def details(self) -> str:
        return (await self._status())[1]

    async def debug_error_string(self) -> str:
        return ""

    async def wait_for_connection(self) -> None:
        """There is none to wait for; raises what the call ended with, if it did not go well."""
        await self._exchange.begun.wait()
        self._raise_for_status()

    async def _status(self) -> tuple[grpc.StatusCode, str]:
        await self._exchange.ended.wait()
        assert self._exchange.status is not None
        return self._exchange.status

    def _raise_for_status(self) -> None:
        exchange = self._exchange
        if exchange.status is None or exchange.status[0] is grpc.StatusCode.OK:
            return
        if exchange.locally_cancelled:
            raise asyncio.CancelledError
        code, details = exchange.status
        raise AioRpcError(code, exchange.initial, exchange.trailing, details=details)

    async def _wait(self, event: asyncio.Event) -> None:
        """Wait; who is cancelled meanwhile wants no answer any more."""
        try:
            await event.wait()
        except asyncio.CancelledError:
            self.cancel()
            raise


class LocalUnaryCall(LocalCall):
    """One request, one answer."""

    def __await__(self) -> Generator[Any, None, Any]:
        return self._answer().__await__()

    async def _answer(self) -> Any:
        await self._wait(self._exchange.ended)
        self._raise_for_status()
        return coded(self._deserialize, self._exchange.messages[0])


class LocalStreamCall(LocalCall):
    """One request, answers one after another."""

    async def read(self) -> Any:
        """The next message, or `grpc.aio.EOF`."""
        exchange = self._exchange
        while not exchange.messages:
            if exchange.status is not None:
                self._raise_for_status()
                return grpc.aio.EOF
            exchange.readable.clear()
            await self._wait(exchange.readable)
        message = exchange.messages.popleft()
        exchange.taken()
        return coded(self._deserialize, message)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not grpc.aio.EOF:
            yield message
