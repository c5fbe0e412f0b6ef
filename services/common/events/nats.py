"""One connection to NATS per process. It never holds up a start, and looks for its server for ever."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error
from nats.js import JetStreamContext

from services.common.events.publisher import Publisher

NATS_CONNECTED = "nats_connected"
NATS_LOST = "nats_lost"
NATS_TRIED = "nats_tried"

CONNECT_SECONDS = 2
RECONNECT_SECONDS = 0.25
PING_SECONDS = 5
"""A server that answers neither of two pings is gone."""

_log = structlog.get_logger()


@dataclass(eq=False, kw_only=True)
class _Subscription:
    subject: str
    callback: Callable[[str, bytes], None]


class _Told:
    """What the client library tells of one connection."""

    def __init__(self, *, up: asyncio.Event, closed: asyncio.Event) -> None:
        self._up = up
        self._closed = closed
        self._lost = False

    async def disconnected(self) -> None:
        if not self._lost and not self._closed.is_set():
            self._lost = True
            _log.warning(NATS_LOST)

    async def reconnected(self) -> None:
        self._lost = False
        self._up.set()
        _log.info(NATS_CONNECTED)

    async def closed(self) -> None:
        self._closed.set()

    async def failed(self, error: Exception) -> None:
        """Each failed try; the state is what counts."""
        _log.debug(NATS_TRIED, error=str(error))


class Nats:
    """What is subscribed is subscribed again after every loss; what is published meanwhile is dropped."""

    def __init__(self, *, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._client: Client | None = None
        self._publisher: Publisher | None = None
        self._up = asyncio.Event()
        self._subscriptions: list[_Subscription] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """Whether the server is there now, as far as we know."""
        return self._client is not None and self._client.is_connected

    async def wait_publisher(self) -> Publisher:
        """The sending end of the present connection, as soon as there is one."""
        while True:
            await self._up.wait()
            if self._publisher is not None and self.connected:
                return self._publisher
            self._up.clear()

    async def wait_connected(self) -> JetStreamContext:
        """JetStream of the present connection, as soon as there is one."""
        return (await self.wait_publisher()).js

    async def publish(self, subject: str, payload: bytes) -> bool:
        """Send on core NATS; False where there is no connection and the message was dropped."""
        if self._client is None or not self._client.is_connected:
            return False
        try:
            await self._client.publish(subject, payload)
        except Error:
            return False
        return True

    @contextmanager
    def subscribed(self, subject: str, callback: Callable[[str, bytes], None]) -> Iterator[None]:
        """Call `callback(subject, payload)` for what others publish there, while the block lasts.

        What this connection publishes itself is not delivered back to it.
        """
        subscription = _Subscription(subject=subject, callback=callback)
        self._subscriptions.append(subscription)
        if self._client is not None and self._client.is_connected:
            task = asyncio.ensure_future(self._subscribe(self._client, subscription))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            yield
        finally:
            self._subscriptions.remove(subscription)

    async def run(self) -> None:
        """Stay connected until cancelled."""
        closed = asyncio.Event()
        try:
            while True:
                closed = asyncio.Event()
                client = await self._connect(closed)
                await closed.wait()  # nats-py gave up, on an authorization error for instance: start over
                if self._client is client:
                    self._client = None
                await asyncio.sleep(RECONNECT_SECONDS)
        finally:
            closed.set()  # what is lost from here on is not worth a word
            client_at_end, self._client = self._client, None
            if client_at_end is not None:
                with suppress(Error, OSError):
                    await client_at_end.close()

    async def _connect(self, closed: asyncio.Event) -> Client:
        """A client that is connected, and will be again; or one that gave up, with `closed` set."""
        client = Client()
        told = _Told(up=self._up, closed=closed)
        try:
            await client.connect(
                self._url,
                name=self._name,
                no_echo=True,
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_SECONDS,  # type: ignore[arg-type]  # typed int, handed to sleep
                connect_timeout=CONNECT_SECONDS,
                ping_interval=PING_SECONDS,
                max_outstanding_pings=2,
                disconnected_cb=told.disconnected,
                reconnected_cb=told.reconnected,
                closed_cb=told.closed,
                error_cb=told.failed,
            )
        except asyncio.CancelledError:
            with suppress(Error, OSError):
                await client.close()
            raise
        except (Error, OSError, TimeoutError) as error:
            _log.warning(NATS_LOST, error=str(error))
            closed.set()
            return client
        publisher = Publisher(client)
        with suppress(Error):
            await publisher.listen()
        for subscription in self._subscriptions:
            await self._subscribe(client, subscription)
        self._client, self._publisher = client, publisher
        self._up.set()
        _log.info(NATS_CONNECTED)
        return client

    async def _subscribe(self, client: Client, subscription: _Subscription) -> None:
        async def deliver(message: Msg) -> None:
            if subscription in self._subscriptions:
                subscription.callback(message.subject, message.data)

        with suppress(Error):
            await client.subscribe(subscription.subject, cb=deliver)


@asynccontextmanager
async def open_nats(*, url: str, name: str) -> AsyncIterator[Nats]:
    """A connection to `url` (`nats://token@host:port`), looked for in the background; `name` shows in its monitor."""
    nats = Nats(url=url, name=name)
    task = asyncio.create_task(nats.run(), name="nats")
    try:
        yield nats
    finally:
        task.cancel()
        await asyncio.wait({task})
