"""An endless body: its heartbeats, and clients that read nothing."""

import asyncio
from typing import Any

import pytest

from gateway.live_body import LiveBody

BEAT = b": alive\n\n"


class Client:
    """Takes what it is sent, unless it is told not to."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[bytes] = asyncio.Queue()
        self.reads = asyncio.Event()
        self.reads.set()
        self.last = False

    async def send(self, message: Any) -> None:
        """One part of the body."""
        await self.reads.wait()
        self.last = not message["more_body"]
        self.taken.put_nowait(message["body"])


def body_for(client: Client, stalled: asyncio.Event, *, every: float = 60.0, send_timeout: float = 60.0) -> LiveBody:
    """A body that `client` reads."""
    return LiveBody(client.send, heartbeat=BEAT, every=every, send_timeout=send_timeout, stalled=stalled.set)


async def test_silence_has_heartbeats_and_pieces_keep_their_order() -> None:
    client, stalled = Client(), asyncio.Event()
    body = body_for(client, stalled, every=0.01)
    async with asyncio.timeout(10):
        assert [await client.taken.get() for _ in range(3)] == [BEAT] * 3
        await body.write(b"piece")
        while await client.taken.get() != b"piece":
            pass
        assert await client.taken.get() == BEAT
        await body.write(b"end", last=True)
    body.close()
    assert client.last
    assert not stalled.is_set()


async def test_writer_is_told_of_a_client_that_takes_nothing() -> None:
    client, stalled = Client(), asyncio.Event()
    client.reads.clear()
    body = body_for(client, stalled, every=0.01, send_timeout=0.02)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10):
            await body.write(b"piece")
    assert stalled.is_set()
    assert client.taken.empty()
    body.close()


async def test_untaken_heartbeat_is_told_and_ends_the_next_piece() -> None:
    client, stalled = Client(), asyncio.Event()
    client.reads.clear()
    body = body_for(client, stalled, every=0.01, send_timeout=0.02)
    async with asyncio.timeout(10):
        await stalled.wait()
    with pytest.raises(TimeoutError):
        await body.write(b"piece")
    body.close()


async def test_cancelled_writer_is_cancelled_and_not_timed_out() -> None:
    client, stalled = Client(), asyncio.Event()
    client.reads.clear()
    begun = asyncio.Event()

    async def write() -> None:
        body = body_for(client, stalled)
        begun.set()
        try:
            await body.write(b"piece")
        finally:
            body.close()

    task = asyncio.create_task(write())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not stalled.is_set()
