"""Replaying a recording against a server: the same requests, in the same order, at the same moments of its frames.

A request is sent once every connection has seen as many frames as the recorder had by then, and after the
recorder's own pause. A read of state is
repeated until it answers as recorded, for a few seconds at most: the recorded moment cannot be hit exactly.
"""

import asyncio
import json
import re
from typing import Any, Protocol

import aiohttp
from yarl import URL

from tests.conformance import picture
from tests.conformance.connection import Connection, comparable, recorded_frame
from tests.conformance.normal import Names, is_report, normal, settled, types_only
from tests.conformance.recording import Event, Recording, bytes_of
from tests.conformance.request import request_body

Json = Any
DEADLINE_SECONDS = 20.0
READ_SECONDS = 3.0
SHORTEST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.5
RECORDED_HOST = "127.0.0.1:8188"
STRUCTURE_ONLY = re.compile(r"^(/api)?/(system_stats|extensions|embeddings|models(/\w+)?)$")
UNSERVED = re.compile(r"^(/api)?/(users|settings|workflow_templates|experiment/models|userdata|internal/.*)(\?.*)?$")
"""The original's web pages use these; the stand-in has no web pages, and answers 404."""
COMPARED_HEADERS = ("Content-Type", "Content-Disposition", "Accept-Ranges", "Connection")


class Server(Protocol):
    """A server that the replay may kill and start again, where the recorder did."""

    async def start(self) -> str:
        """Lets it serve, if it does not, and gives its address."""
        ...

    async def kill(self) -> None:
        """Ends it at once."""
        ...

    def note(self, text: str) -> None:
        """What the recorder noted, for what it did beside the protocol."""
        ...


class Replay:
    """One scenario against one server. `problems` are the differences found."""

    def __init__(self, recording: Recording, session: aiohttp.ClientSession, *, server: Server) -> None:
        self._recording = recording
        self._server = server
        self._session = session
        self._base = ""
        self._names = Names()
        self._connections: dict[str, Connection] = {}
        self._expected: dict[str, list[Json]] = {}
        self.problems: list[str] = []

    async def run(self) -> None:
        """Plays the whole scenario."""
        self._base = await self._server.start()
        for _ in range(self._recording.posted_before_first_number()):
            async with self._session.post(f"{self._base}/prompt", json={}) as answer:
                assert answer.status == 400
        last = 0.0
        for event in self._recording.events:
            await self._pause(event, last)
            await self.play(event)
            last = max(last, float(event.content.get("t_response") or event.content.get("t") or 0.0))
        await self.finish()

    async def _pause(self, event: Event, last: float) -> None:
        """Waits where the recorder waited before it did something."""
        gap = float(event.content.get("t", 0.0)) - last
        if event.kind == "http" and event.content["request"]["method"] != "GET" and gap > SHORTEST_PAUSE_SECONDS:
            await self._reach()
            await asyncio.sleep(min(gap, LONGEST_PAUSE_SECONDS))

    async def play(self, event: Event) -> None:
        """Plays one line."""
        match event.kind:
            case "ws_frame":
                self._expected.setdefault(event.client, []).append(recorded_frame(event.content))
            case "note":
                await self._reach()
                self._server.note(str(event.content["text"]))
            case "ws_open":
                await self._reach()
                self._base = await self._server.start()
                await self._open(event)
            case "ws_send":
                await self._reach()
                await self._connections[event.client].socket.send_str(event.content["text"])
            case "ws_close":
                await self._reach()
                if event.content["initiated_by"] != "recorder":
                    await self._lose(event)
                await self._close(event.client)
            case "http":
                await self._reach()
                await self._exchange(event.content)

    async def finish(self) -> None:
        """Waits for what is due and compares the frames of connections that are still open."""
        await self._reach()
        for client in list(self._connections):
            await self._close(client)

    async def _open(self, event: Event) -> None:
        path = self._names.translate(event.content["path"])
        headers = event.content.get("request_headers")
        compress = 15 if event.client == "W" else 0
        await self._flush()
        try:
            socket = await self._session.ws_connect(
                self._base + path, headers=headers, compress=compress, autoping=False
            )
        except aiohttp.WSServerHandshakeError as refused:
            if refused.status != event.content.get("status", 403):
                self.problems.append(f"socket {event.client}: {refused.status}")
            return
        if event.content.get("status") != 101:
            self.problems.append(f"socket {event.client} was let in")
        connection = Connection(socket)
        connection.reader = asyncio.create_task(connection.read())
        self._connections[event.client] = connection
        self._expected.setdefault(event.client, [])

    async def _flush(self) -> None:
        """Lets a run that ended send its last frame, as it had when the recorder went on."""
        for _ in range(3):
            async with self._session.get(f"{self._base}/prompt") as answer:
                await answer.read()

    async def _reach(self) -> None:
        """Waits until every open connection has seen what the recorder had seen."""
        for client, connection in self._connections.items():
            expected = settled(self._expected[client])
            pongs = [frame for frame in expected if "pong" in frame]
            if len(pongs) > len([frame for frame in connection.frames if "pong" in frame]):
                await connection.socket.ping(pongs[-1]["pong"].encode())
            try:
                async with asyncio.timeout(DEADLINE_SECONDS), connection.arrived:
                    await connection.arrived.wait_for(
                        lambda c=connection, e=expected: len(settled(c.frames)) >= len(e)  # type: ignore[misc]
                    )
            except TimeoutError:
                seen = len(settled(connection.frames))
                self.problems.append(f"{client}: {seen} frames instead of {len(expected)}")
                self._compare_frames(client)
                raise AssertionError("\n".join(self.problems)) from None
            self._learn(expected, settled(connection.frames))

    def _learn(self, expected: list[Json], frames: list[Json]) -> None:
        for recorded, ours in zip(expected, frames, strict=False):
            left, right = recorded.get("json"), ours.get("json")
            if left and right and left.get("type") == right.get("type"):
                self._names.learn_from(left, right)
                sid, our_sid = left["data"].get("sid"), right["data"].get("sid")
                if sid and our_sid and re.fullmatch(r"[0-9a-f]{32}", sid):
                    self._names.learn(sid, our_sid)

    async def _close(self, client: str) -> None:
        connection = self._connections.pop(client, None)
        if connection is None or connection.reader is None:
            return
        self._connections[client] = connection
        self._compare_frames(client)
        del self._connections[client]
        await connection.socket.close()
        await connection.reader

    async def _lose(self, event: Event) -> None:
        """The server dies; its socket has to end as the recorded one did."""
        connection = self._connections[event.client]
        await self._server.kill()
        assert connection.reader is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            await connection.reader
        if connection.socket.close_code != event.content["close_code"]:
            self.problems.append(f"{event.client}: close code {connection.socket.close_code}")

    def _compare_frames(self, client: str) -> None:
        ours = [comparable(frame) for frame in settled(self._connections[client].frames)]
        expected = [comparable(self._names.translate_json(frame)) for frame in settled(self._expected[client])]
        for place, (left, right) in enumerate(zip(expected, ours, strict=False)):
            if left != right:
                self.problems.append(f"{client} frame {place}:\n  recorded {left}\n  ours     {right}")
                return
        more = ours[len(expected) :]
        if more and not (expected and all(is_report(frame) for frame in [expected[-1], *more])):
            self.problems.append(f"{client}: frame that was not recorded: {ours[len(expected)]}")

    async def _exchange(self, content: dict[str, Json]) -> None:
        request = content["request"]
        is_read = request["method"] == "GET"
        label = f"{request['method']} {request['path']} [{content.get('label')}]"
        if "error" in content:
            await self._be_refused(label, request["path"])
            return
        problem: str | None = None
        try:
            async with asyncio.timeout(READ_SECONDS if is_read else DEADLINE_SECONDS):
                while True:
                    problem = await self._ask(request, content["response"])
                    if problem is None or not is_read:
                        break
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pass
        if problem is not None:
            self.problems.append(f"{label}: {problem}")
        if request["method"] == "POST" and request["path"].endswith("/prompt"):
            await self._wait_for_worker()

    async def _wait_for_worker(self) -> None:
        """Lets a prompt be taken up, if none runs, before the next request: the recorder never was that fast."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                async with self._session.get(f"{self._base}/queue") as answer:
                    queue = await answer.json()
                if queue["queue_running"] or not queue["queue_pending"]:
                    return

    async def _be_refused(self, label: str, path: str) -> None:
        try:
            async with self._session.get(self._base + path) as answer:
                self.problems.append(f"{label}: answered {answer.status} after its death")
        except aiohttp.ClientConnectorError:
            return

    async def _ask(self, request: dict[str, Json], recorded: dict[str, Json]) -> str | None:
        url = URL(self._base + self._names.translate(request["path"]), encoded="%" in request["path"])
        headers = {name: value.replace(RECORDED_HOST, self._base[7:]) for name, value in _headers(request).items()}
        if "If-None-Match" in headers:
            async with self._session.get(url) as fresh:
                headers["If-None-Match"] = fresh.headers["Etag"]
        body = request_body(request, self._names)
        async with self._session.request(request["method"], url, headers=headers, data=body) as answer:
            content = await answer.read()
            if UNSERVED.match(request["path"]):
                return None if answer.status == 404 else f"status {answer.status} of a page's route"
            if answer.status != recorded["status"]:
                return f"status {answer.status} instead of {recorded['status']}: {content[:300]!r}"
            return _header_difference(recorded, answer, self._names) or self._body_difference(
                request["path"], recorded, content, answer.content_type
            )

    def _body_difference(self, path: str, recorded: dict[str, Json], content: bytes, kind: str) -> str | None:
        if "json" in recorded:
            ours = json.loads(content)
            if isinstance(ours, dict) and isinstance(recorded["json"], dict):
                expected_id, our_id = recorded["json"].get("prompt_id"), ours.get("prompt_id")
                if expected_id and our_id and re.fullmatch(r"[0-9a-f-]{36}", expected_id):
                    self._names.learn(expected_id, our_id)
            if STRUCTURE_ONLY.match(path):
                same = types_only(ours) == types_only(recorded["json"]) or isinstance(ours, list)
                return None if same else f"other structure: {types_only(ours)}"
            self._names.learn_from(self._names.translate_json(recorded["json"]), ours)
            left, right = normal(self._names.translate_json(recorded["json"])), normal(ours)
            return None if left == right else f"\n  recorded {left}\n  ours     {right}"
        if "text" in recorded:
            same = recorded["text"] == content.decode()
            return None if same else f"{content!r} instead of {recorded['text']!r}"
        if recorded["body_length"] == 0:
            return None if not content else "a body where none was recorded"
        if recorded["status"] == 206:
            return None if content == bytes_of(recorded) else "another part of the file"
        return picture.difference(bytes_of(recorded), content, kind)


def _headers(request: dict[str, Json]) -> dict[str, str]:
    return dict(request.get("headers") or {})


def _header_difference(recorded: dict[str, Json], answer: aiohttp.ClientResponse, names: Names) -> str | None:
    expected = recorded["headers"]
    for name in COMPARED_HEADERS:
        left, right = expected.get(name), answer.headers.get(name)
        if name == "Content-Type" and recorded["body_length"] == 0 and left is None:
            continue
        if (None if left is None else names.translate(left)) != right:
            return f"header {name} is {right!r} instead of {left!r}"
    for name in ("Etag", "Content-Range"):
        if (name in expected) != (name in answer.headers):
            return f"header {name} is {answer.headers.get(name)!r} instead of {expected.get(name)!r}"
    return None
