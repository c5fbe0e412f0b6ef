"""A REST client as users write it."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp

DEADLINE_SECONDS = 60
TERMINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "INVALID"})


@dataclass(frozen=True, kw_only=True)
class ServerSentEvent:
    """One event of a stream: its name, its id where it has one, and its JSON."""

    name: str
    id: str | None
    body: dict[str, Any]


class Client:
    """JSON in, JSON out."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """The status and the decoded answer, or None where it has no JSON."""
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            self.session.request(method, self.url + path, **options) as answer,
        ):
            kind = answer.content_type
            return answer.status, json.loads(await answer.read()) if kind.endswith("json") else None

    async def ended(self, body: dict[str, Any], path: str = "/v1/runs", **headers: str) -> dict[str, Any]:
        """Makes a run and returns it as it is at its end."""
        status, run = await self.call("POST", path, json=body, headers={"prefer": "wait=50", **headers})
        assert status in (200, 201), run
        assert run["state"] in TERMINAL, run
        ended: dict[str, Any] = run
        return ended

    async def events(self, method: str, path: str, **options: Any) -> AsyncIterator[ServerSentEvent]:
        """The events of a stream until the server ends it."""
        headers = {"accept": "text/event-stream", **options.pop("headers", {})}
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            self.session.request(method, self.url + path, headers=headers, **options) as answer,
        ):
            assert answer.status in (200, 201), (answer.status, await answer.text())
            fields: dict[str, str] = {}
            async for line in answer.content:
                text = line.decode("utf-8").rstrip("\r\n")
                if text and not text.startswith(":"):
                    name, _, value = text.partition(":")
                    fields[name] = value.removeprefix(" ")
                elif not text and "data" in fields:
                    yield ServerSentEvent(
                        name=fields.get("event", "message"), id=fields.get("id"), body=json.loads(fields["data"])
                    )
                    fields = {}

    async def output(self, run: dict[str, Any], name: str) -> bytes:
        """The bytes of one output, by name or ordinal."""
        async with self.session.get(f"{self.url}/v1/runs/{run['id']}/outputs/{name}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.read()
