"""Server-sent events (WHATWG HTML, 9.2): their bytes, and the answer that writes a run's events as they come."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import orjson
from comfyfleet.run.v1 import run_event_pb2
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.json_answer import encode
from gateway.presence import OpenStreams, leaving
from gateway.problems import body_of, problem_of
from gateway.rest.run_json import ends, event_json

EVENT_STREAM = "text/event-stream"
HEARTBEAT = b": heartbeat\n\n"
PREAMBLE = b"retry: 3000\n\n"

EventCall = grpc.aio.UnaryStreamCall[Any, run_event_pb2.RunEvent]
Resume = Callable[[int], EventCall]
"""Watches the run again, from after this sequence."""

_RESUME_PAUSES = (0.1, 0.25, 0.5, 1.0, 2.0, 2.0, 4.0, 4.0)


def frame(name: str, body: bytes, *, event_id: int) -> bytes:
    """One event. Those without a place in the log (0) carry no id: the cursor stays where it was."""
    head = b"id: %d\n" % event_id if event_id > 0 else b""
    return b"%sevent: %s\ndata: %s\n\n" % (head, name.encode(), body)


def event_frame(event: run_event_pb2.RunEvent, *, base: str) -> bytes:
    """One message of a run's stream."""
    name, body = event_json(event, base=base)
    return frame(name, encode(body), event_id=event.sequence)


class EventStream(Response):
    """Writes the events of one run until it has ended, the client goes, reads nothing for `send_timeout`, or we stop.

    Nothing is queued: the next message is read from the room when the last one was taken by the client. A room that
    is away for a moment is asked again from the last sequence, so that its restart is a pause.
    """

    def __init__(
        self,
        first: "asyncio.Task[run_event_pb2.RunEvent | None]",
        *,
        call: EventCall,
        resume: Resume,
        cursor: int,
        base: str,
        request_id: str,
        streams: OpenStreams,
        heartbeat: float,
        send_timeout: float,
        headers: dict[str, str],
    ) -> None:
        super().__init__(headers=headers)
        self._reading = first
        self._call = call
        self._resume = resume
        self._cursor = cursor
        self._base = base
        self._request_id = request_id
        self._streams = streams
        self._heartbeat = heartbeat
        self._send_timeout = send_timeout

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name.encode(), value.encode("latin-1")) for name, value in self._head().items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            async with leaving(receive, self._streams) as end:
                await self._write(send, PREAMBLE)
                await self._relay(send, end)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            return  # the client reads nothing; leaving the answer unfinished closes its connection
        finally:
            self._reading.cancel()
            self._call.cancel()

    def _head(self) -> dict[str, str]:
        return {
            **{name: value for name, value in self.headers.items() if name != "content-length"},
            "content-type": f"{EVENT_STREAM}; charset=utf-8",
            "cache-control": "no-cache",
            "x-accel-buffering": "no",
        }

    async def _relay(self, send: Send, end: "asyncio.Future[None]") -> None:
        while True:
            waiting: set[asyncio.Future[Any]] = {self._reading, end}
            await asyncio.wait(waiting, timeout=self._heartbeat, return_when=asyncio.FIRST_COMPLETED)
            if end.done():
                return
            if not self._reading.done():
                await self._write(send, HEARTBEAT)
                continue
            try:
                event = self._reading.result()
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE and await self._again(send, end):
                    continue
                await self._write(send, self._failure(error))
                return
            if event is None:
                return
            if event.sequence:
                self._cursor = event.sequence
            await self._write(send, event_frame(event, base=self._base))
            if ends(event):
                return
            self._reading = asyncio.create_task(next_event(self._call))

    async def _again(self, send: Send, end: "asyncio.Future[None]") -> bool:
        """Watch again after the cursor; false when the room stays away, or the client goes meanwhile."""
        for pause in _RESUME_PAUSES:
            await asyncio.wait({end}, timeout=pause)
            if end.done():
                return True
            self._call = self._resume(self._cursor)
            reading = asyncio.create_task(next_event(self._call))
            waiting: set[asyncio.Future[Any]] = {reading, end}
            await asyncio.wait(waiting, timeout=self._heartbeat, return_when=asyncio.FIRST_COMPLETED)
            self._reading = reading
            if not reading.done() or not _away(reading):
                return True
            await self._write(send, HEARTBEAT)
        return False

    def _failure(self, error: grpc.aio.AioRpcError) -> bytes:
        body = body_of(problem_of(error), request_id=self._request_id)
        return frame("problem", orjson.dumps(body), event_id=0)

    async def _write(self, send: Send, data: bytes) -> None:
        async with asyncio.timeout(self._send_timeout):
            await send({"type": "http.response.body", "body": data, "more_body": True})


async def next_event(call: EventCall) -> run_event_pb2.RunEvent | None:
    """The next message of `call`; None at its end, AioRpcError where it failed."""
    event = await call.read()
    if event is grpc.aio.EOF:
        await _raise_failure(call)
        return None
    assert isinstance(event, run_event_pb2.RunEvent)
    return event


async def _raise_failure(call: EventCall) -> None:
    if (code := await call.code()) is not grpc.StatusCode.OK:
        raise grpc.aio.AioRpcError(
            code, await call.initial_metadata(), await call.trailing_metadata(), await call.details()
        )


def _away(reading: "asyncio.Task[run_event_pb2.RunEvent | None]") -> bool:
    error = reading.exception()
    return isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.UNAVAILABLE
