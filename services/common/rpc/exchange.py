"""A call inside of one process: what its two ends share. The handler sees it as its `ServicerContext`."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextvars import Context
from typing import Any, Never, TypeAlias

import grpc
from grpc.aio import AbortError, Metadata

from services.common.rpc.options import MAX_MESSAGE_BYTES

Pairs: TypeAlias = Iterable[tuple[str, str | bytes]]
Codec: TypeAlias = "Callable[[Any], Any] | None"

MOST_WAITING = 2
"""Messages of a stream that wait for their reader; then the handler waits, as it does when a connection is full."""

_Base: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def coded(codec: Codec, message: Any) -> Any:
    """`message` through a serializer or deserializer, if there is one."""
    return message if codec is None else codec(message)


class Exchange(grpc.aio.ServicerContext):  # type: ignore[type-arg]  # generic in the stubs only
    """One call from its beginning to its status. Whatever ends it first, decides."""

    def __init__(self, *, metadata: Pairs, timeout: float | None, serialize: Codec) -> None:
        self._loop = asyncio.get_running_loop()
        self._metadata = Metadata(*metadata)
        self._serialize = serialize
        self._deadline = None if timeout is None else self._loop.time() + timeout
        self._timer = None if timeout is None else self._loop.call_later(timeout, self._expire)
        self._task: asyncio.Task[None] | None = None
        self._said: grpc.StatusCode | None = None
        self._said_details = ""
        self._callbacks: list[Callable[[Any], None]] = []
        self.messages: deque[Any] = deque()
        self.initial = Metadata()
        self.trailing = Metadata()
        self.status: tuple[grpc.StatusCode, str] | None = None
        self.locally_cancelled = False
        self.readable = asyncio.Event()
        """There is a message, or the end."""
        self.begun = asyncio.Event()
        """The first metadata are known."""
        self.ended = asyncio.Event()
        self._writable = asyncio.Event()

    def start(self, behaviour: Callable[[Any, _Base], Coroutine[Any, Any, Any]], request: Any) -> "asyncio.Task[None]":
        """Run the handler, in a context of its own as behind a connection."""
        self._task = self._loop.create_task(self._serve(behaviour, request), context=Context())
        return self._task

    def end(self, code: grpc.StatusCode, details: str = "") -> None:
        """The call is over; the handler is cancelled if it still runs."""
        if self.status is not None:
            return
        self.status = (code, details)
        if self._timer is not None:
            self._timer.cancel()
        for event in (self.begun, self.readable, self.ended, self._writable):
            event.set()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        for callback in self._callbacks:
            callback(self)

    def cancel(self) -> bool:
        """The caller wants no more; False if it is over already."""
        if self.status is not None:
            return False
        self.locally_cancelled = True
        self.messages.clear()
        self.end(grpc.StatusCode.CANCELLED, "Locally cancelled by application!")
        return True

    async def _serve(self, behaviour: Callable[[Any, _Base], Coroutine[Any, Any, Any]], request: Any) -> None:
        try:
            answer = await behaviour(request, self)
            if answer is not None:
                self._append(answer)
            self.end(self._said or grpc.StatusCode.OK, self._said_details)
        except AbortError:
            self.end(self._said or grpc.StatusCode.UNKNOWN, self._said_details)
        except asyncio.CancelledError:
            self.end(grpc.StatusCode.CANCELLED, "The server ended the call.")
            raise
        except Exception as error:  # the interceptor lets none pass; a serializer may still fail
            self.end(grpc.StatusCode.INTERNAL, f"{type(error).__name__} behind the handler.")

    def _append(self, message: Any) -> None:
        packed = coded(self._serialize, message)
        if len(packed) > MAX_MESSAGE_BYTES:
            self.end(grpc.StatusCode.RESOURCE_EXHAUSTED, f"A message has at most {MAX_MESSAGE_BYTES} bytes.")
            return
        self.messages.append(packed)
        self.readable.set()

    def _expire(self) -> None:
        self.end(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    # What handlers use.

    async def write(self, message: Any) -> None:
        if self.status is not None:
            raise asyncio.CancelledError
        self.begun.set()
        self._append(message)
        while len(self.messages) > MOST_WAITING and self.status is None:
            self._writable.clear()
            await self._writable.wait()

    def taken(self) -> None:
        """The reader took a message."""
        self._writable.set()

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> Never:
        self._said, self._said_details, self.trailing = code, details, Metadata(*trailing_metadata)
        raise AbortError("Locally aborted.")

    async def abort_with_status(self, status: grpc.Status) -> Never:
        await self.abort(status.code, status.details, status.trailing_metadata or ())

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        self.initial = Metadata(*initial_metadata)
        self.begun.set()

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        self.trailing = Metadata(*trailing_metadata)

    def invocation_metadata(self) -> Metadata:
        return self._metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        self._said = code

    def set_details(self, details: str) -> None:
        self._said_details = details

    def time_remaining(self) -> float:
        # None where there is no deadline, as grpc.aio answers too.
        return None if self._deadline is None else max(self._deadline - self._loop.time(), 0.0)  # type: ignore[return-value]

    def trailing_metadata(self) -> Metadata:
        return self.trailing

    def code(self) -> grpc.StatusCode:
        return self._said or grpc.StatusCode.OK

    def details(self) -> str:
        return self._said_details

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)

    def cancelled(self) -> bool:
        return self.status is not None and self.status[0] is grpc.StatusCode.CANCELLED

    def done(self) -> bool:
        return self.status is not None

    def peer(self) -> str:
        return "inproc"

    async def read(self) -> Any:
        raise grpc.aio.UsageError("The request is an argument of the handler.")

    def set_compression(self, compression: grpc.Compression) -> None:
        """Nothing is compressed that does not leave the process."""

    def disable_next_message_compression(self) -> None:
        """Nothing is compressed that does not leave the process."""

    def peer_identities(self) -> None:
        return None

    def peer_identity_key(self) -> None:
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return {}
