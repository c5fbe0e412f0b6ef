"""Hints, relay and consumers over a real nats-server, which is killed now and then."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from services.common.events.consumer import run_consumer
from services.common.events.hints import Hints, open_hints
from services.common.events.nats import Nats, open_nats
from services.common.events.outbox import RELAY_FAILED, Relay
from services.common.events.stream import STREAM, ensure_stream
from services.common.ids import new_id
from services.common.outbox_event import OutboxEvent
from services.common.rpc.metadata import current_request_id
from tests.servers.nats import NatsServer

DEADLINE = 20.0


class ListOutbox:
    """An outbox in a list."""

    def __init__(self) -> None:
        self.waiting: dict[str, OutboxEvent] = {}

    def add(self, subject: str, body: bytes = b"", request_id: str | None = None) -> None:
        event = OutboxEvent(id=new_id(), subject=subject, body=body, request_id=request_id)
        self.waiting[event.id] = event

    async def unpublished(self, limit: int) -> Sequence[OutboxEvent]:
        return list(self.waiting.values())[:limit]

    async def mark_published(self, ids: Sequence[str]) -> None:
        for one in ids:
            del self.waiting[one]


class Received:
    """What a consumer was given, to be waited for."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.request_ids: list[str | None] = []
        self.failures = 0
        self._changed = asyncio.Event()

    async def __call__(self, subject: str, body: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("not now")
        self.bodies.append(body)
        self.request_ids.append(current_request_id())
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def running(*coroutines: Coroutine[None, None, None]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    one = NatsServer(tmp_path / "nats")
    one.start()
    yield one
    one.close()


@pytest_asyncio.fixture
async def nats(server: NatsServer) -> AsyncIterator[Nats]:
    async with open_nats(url=server.url, name="test") as opened:
        yield opened


async def _connected(nats: Nats) -> None:
    await asyncio.wait_for(nats.wait_connected(), DEADLINE)


async def test_a_committed_fact_reaches_a_durable_consumer_with_its_request_id(nats: Nats) -> None:
    outbox, received = ListOutbox(), Received()
    relay = Relay(outbox=outbox, nats=nats)
    consumer = run_consumer(nats=nats, durable="files", subjects=["comfyfleet.*.run.>"], receive=received)
    async with running(relay.run(), consumer):
        outbox.add("comfyfleet.t1.run.state", b"1", "abc")
        outbox.add("comfyfleet.t1.file.stored", b"other room")
        relay.wake()
        await received.until(lambda: received.bodies == [b"1"])
    assert received.request_ids == ["abc"]
    assert outbox.waiting == {}


async def test_what_happened_while_a_durable_consumer_was_away_comes_later(nats: Nats) -> None:
    outbox, received = ListOutbox(), Received()
    relay = Relay(outbox=outbox, nats=nats)
    async with running(relay.run()):
        consumer = run_consumer(nats=nats, durable="files", subjects=["comfyfleet.>"], receive=received)
        async with running(consumer):
            outbox.add("comfyfleet.t1.run.state", b"1")
            await received.until(lambda: received.bodies == [b"1"])
        outbox.add("comfyfleet.t1.run.state", b"2")
        relay.wake()
        consumer = run_consumer(nats=nats, durable="files", subjects=["comfyfleet.>"], receive=received)
        async with running(consumer):
            await received.until(lambda: received.bodies == [b"1", b"2"])


async def test_a_fact_whose_receiver_failed_comes_again(nats: Nats) -> None:
    outbox, received = ListOutbox(), Received()
    received.failures = 2
    outbox.add("comfyfleet.t1.run.state", b"1")
    relay = Relay(outbox=outbox, nats=nats)
    consumer = run_consumer(nats=nats, durable="files", subjects=["comfyfleet.>"], receive=received)
    async with running(relay.run(), consumer):
        await received.until(lambda: received.bodies == [b"1"])


async def test_every_ephemeral_consumer_gets_each_fact(nats: Nats) -> None:
    outbox, first, second = ListOutbox(), Received(), Received()
    relay = Relay(outbox=outbox, nats=nats)
    consumers = [
        run_consumer(nats=nats, durable=None, subjects=["comfyfleet.*.access.>"], receive=one)
        for one in (first, second)
    ]
    async with running(relay.run(), *consumers):
        # Only what happens after its making reaches an ephemeral consumer: repeat until both have begun.
        for received in (first, second):
            while not received.bodies:
                outbox.add("comfyfleet.t1.access.credential_revoked", b"c1")
                relay.wake()
                waiting = asyncio.create_task(received.until(lambda one=received: bool(one.bodies)))  # type: ignore[misc]
                await asyncio.wait({waiting}, timeout=0.2)
                waiting.cancel()


async def test_nothing_waits_for_a_server_that_comes_later(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "late")
    outbox, received = ListOutbox(), Received()
    async with open_nats(url=server.url, name="test") as nats:
        assert not nats.connected
        relay = Relay(outbox=outbox, nats=nats)
        consumer = run_consumer(nats=nats, durable="files", subjects=["comfyfleet.>"], receive=received)
        async with running(relay.run(), consumer):
            outbox.add("comfyfleet.t1.run.state", b"1")
            server.start()
            try:
                await received.until(lambda: received.bodies == [b"1"])
            finally:
                server.close()


@pytest.mark.parametrize("lose_store", [False, True], ids=["store kept", "store lost"])
async def test_relay_and_consumer_survive_a_killed_server(server: NatsServer, nats: Nats, lose_store: bool) -> None:
    outbox, received = ListOutbox(), Received()
    relay = Relay(outbox=outbox, nats=nats)
    consumer = run_consumer(nats=nats, durable="files", subjects=["comfyfleet.>"], receive=received)
    async with running(relay.run(), consumer):
        outbox.add("comfyfleet.t1.run.state", b"1")
        relay.wake()
        await received.until(lambda: b"1" in received.bodies)
        server.kill()
        if lose_store:
            server.forget()
        outbox.add("comfyfleet.t1.run.state", b"2")
        relay.wake()
        server.start()
        await received.until(lambda: b"2" in received.bodies)
    assert outbox.waiting == {}


async def test_hints_reach_this_process_at_once_and_without_nats() -> None:
    heard: list[tuple[str, bytes]] = []
    async with open_hints(nats=None) as hints:
        with (
            hints.subscribed("run.1", lambda *hint: heard.append(hint)),
            hints.subscribed("run.*", lambda *hint: heard.append(hint)),
            hints.subscribed(">", lambda *hint: heard.append(hint)),
        ):
            hints.publish("run.1", b"x")
            assert heard == [("run.1", b"x")] * 3
            hints.publish("run.1.y")
            assert heard[3:] == [("run.1.y", b"")]
        hints.publish("run.1")
    assert len(heard) == 4


async def test_a_failing_listener_does_not_deafen_the_others() -> None:
    heard: list[str] = []

    def fail(_subject: str, _payload: bytes) -> None:
        raise OSError

    async with open_hints(nats=None) as hints:
        with hints.subscribed("a", fail), hints.subscribed("a", lambda subject, _payload: heard.append(subject)):
            hints.publish("a")
    assert heard == ["a"]


async def _until_heard(sender: Hints, heard: asyncio.Event) -> None:
    async with asyncio.timeout(DEADLINE):
        while not heard.is_set():
            sender.publish("assigned.d1", b"x")
            waiting = asyncio.create_task(heard.wait())
            await asyncio.wait({waiting}, timeout=0.05)
            waiting.cancel()


async def test_hints_cross_processes_and_server_restarts(server: NatsServer) -> None:
    heard = asyncio.Event()
    payloads: list[bytes] = []

    def hear(_subject: str, payload: bytes) -> None:
        payloads.append(payload)
        heard.set()

    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(open_nats(url=server.url, name="one"))
        two = await stack.enter_async_context(open_nats(url=server.url, name="two"))
        sender = await stack.enter_async_context(open_hints(nats=one))
        listener = await stack.enter_async_context(open_hints(nats=two))
        stack.enter_context(listener.subscribed("assigned.*", hear))
        await _connected(one)
        await _connected(two)
        await _until_heard(sender, heard)
        heard.clear()
        server.kill()
        server.start()
        await _until_heard(sender, heard)
    assert set(payloads) == {b"x"}


async def test_what_a_full_stream_refuses_is_published_when_there_is_room(nats: Nats) -> None:
    js = await asyncio.wait_for(nats.wait_connected(), DEADLINE)
    await ensure_stream(js)
    config = (await js.stream_info(STREAM)).config
    await js.update_stream(config, max_bytes=2_000)
    outbox, received = ListOutbox(), Received()
    relay = Relay(outbox=outbox, nats=nats)
    consumer = run_consumer(nats=nats, durable="files", subjects=["comfyfleet.>"], receive=received)
    with capture_logs() as lines:
        async with running(relay.run(), consumer):
            for _ in range(4):
                outbox.add("comfyfleet.t1.run.state", b"x" * 900)
            relay.wake()
            await received.until(lambda: len(received.bodies) == 1)
            assert outbox.waiting
            await js.update_stream(config, max_bytes=1_000_000)
            await received.until(lambda: len(received.bodies) == 4)
    assert outbox.waiting == {}
    assert any(line["event"] == RELAY_FAILED for line in lines)
