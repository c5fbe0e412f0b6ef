"""Server-sent events (WHATWG HTML, 9.2): their bytes, and the answer that writes a run's events as they come."""

import grpc
import orjson
from comfyfleet.run.v1 import run_event_pb2
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.json_answer import encode
from gateway.live_body import LiveBody
from gateway.presence import OpenStreams, leaving
from gateway.problems import body_of, problem_of
from gateway.rest.run_json import ends, event_json
from gateway.run_events import RunEvents

EVENT_STREAM = "text/event-stream"
HEARTBEAT = b": heartbeat\n\n"
PREAMBLE = b"retry: 3000\n\n"

_HEADERS = {
    "content-type": f"{EVENT_STREAM}; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


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

    Nothing is queued: the next event is read from the room when the last one was taken by the client.
    """

    def __init__(
        self,
        events: RunEvents,
        *,
        first: run_event_pb2.RunEvent | None,
        base: str,
        request_id: str,
        streams: OpenStreams,
        heartbeat: float,
        send_timeout: float,
        headers: dict[str, str],
    ) -> None:
        """`first`: the first event; None where it is not here yet."""
        super().__init__(headers={**headers, **_HEADERS})
        self._events = events
        self._first = first
        self._base = base
        self._request_id = request_id
        self._streams = streams
        self._heartbeat = heartbeat
        self._send_timeout = send_timeout

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        headers = [header for header in self.raw_headers if header[0] != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        body = LiveBody(
            send,
            heartbeat=HEARTBEAT,
            every=self._heartbeat,
            send_timeout=self._send_timeout,
            stalled=self._events.stop,
        )
        try:
            with leaving(receive, self._streams) as end:
                end.add_done_callback(lambda _: self._events.stop())
                await self._relay(body)
        except TimeoutError:
            return  # the client reads nothing; leaving the answer unfinished closes its connection
        finally:
            body.close()
            self._events.stop()

    async def _relay(self, body: LiveBody) -> None:
        piece = PREAMBLE
        try:
            if (event := self._first) is None:
                await body.write(PREAMBLE)
                piece, event = b"", await self._events.next()
            while event is not None:
                last = ends(event)
                await body.write(piece + event_frame(event, base=self._base), last=last)
                if last:
                    return
                piece, event = b"", await self._events.next()
        except grpc.aio.AioRpcError as error:
            problem = body_of(problem_of(error), request_id=self._request_id)
            piece = frame("problem", orjson.dumps(problem), event_id=0)
        await body.write(piece, last=True)
