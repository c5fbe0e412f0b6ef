"""Facts of other rooms, handed to an async function at least once each."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta

import structlog
from nats.aio.msg import Msg
from nats.errors import Error
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from services.common.events.cancelled import raise_if_cancelled
from services.common.events.nats import Nats
from services.common.events.stream import STREAM, ensure_stream
from services.common.ids import new_id
from services.common.rpc.metadata import REQUEST_ID, set_request_id

EVENT_FAILED = "event_failed"
CONSUMER_FAILED = "consumer_failed"

BATCH = 50
FETCH_SECONDS = 2.0
"""Short, so that a request lost with its server is soon made again."""
QUIET_FETCHES = 5
"""After so many empty ones the consumer is looked up: it may be gone with its stream."""
ACK_WAIT = timedelta(seconds=30)
RETRY_DELAY = timedelta(seconds=1)
EPHEMERAL_LIFE = timedelta(seconds=60)
_PAUSE_SECONDS = 0.5

_log = structlog.get_logger()

Receive = Callable[[str, bytes], Awaitable[None]]
"""(subject, body). It must be idempotent: a fact comes again after a lost acknowledgement or an exception."""


async def run_consumer(*, nats: Nats, durable: str | None, subjects: Sequence[str], receive: Receive) -> None:
    """Hand facts on `subjects` to `receive` until cancelled, one after another.

    With a `durable` name, replicas share the facts and none is skipped while all are away. Without one, this process
    gets every fact from now on, and misses those told while it is not connected.
    """
    while True:
        js = await nats.wait_connected()
        try:
            name = await _ensure_consumer(js, durable, subjects)
            try:
                await _consume(js, name, receive)
            finally:
                if durable is None and nats.connected:
                    with suppress(Error, TimeoutError):  # it would end by itself after EPHEMERAL_LIFE
                        async with asyncio.timeout(_PAUSE_SECONDS):
                            await js.delete_consumer(STREAM, name)
        except (Error, TimeoutError) as error:
            raise_if_cancelled()
            _log.warning(CONSUMER_FAILED, durable=durable, error=str(error) or type(error).__name__)
        await asyncio.sleep(_PAUSE_SECONDS)


async def _ensure_consumer(js: JetStreamContext, durable: str | None, subjects: Sequence[str]) -> str:
    name = durable or f"once-{new_id()}"
    config = ConsumerConfig(
        name=name,
        durable_name=durable,
        deliver_policy=DeliverPolicy.ALL if durable else DeliverPolicy.NEW,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT.total_seconds(),
        filter_subjects=list(subjects),
        inactive_threshold=None if durable else EPHEMERAL_LIFE.total_seconds(),
    )
    try:
        await js.add_consumer(STREAM, config)
    except NotFoundError:
        await ensure_stream(js)
        await js.add_consumer(STREAM, config)
    return name


async def _consume(js: JetStreamContext, name: str, receive: Receive) -> None:
    subscription = await js.pull_subscribe_bind(consumer=name, stream=STREAM)
    try:
        quiet = 0
        while True:
            try:
                messages = await subscription.fetch(BATCH, timeout=FETCH_SECONDS)
            except NatsTimeoutError:
                raise_if_cancelled()
                quiet += 1
                if quiet % QUIET_FETCHES == 0:
                    await subscription.consumer_info()  # raises where it is gone
                continue
            quiet = 0
            for message in messages:
                await _hand_over(message, receive)
    finally:
        with suppress(Error, TimeoutError):
            await subscription.unsubscribe()


async def _hand_over(message: Msg, receive: Receive) -> None:
    request_id = (message.headers or {}).get(REQUEST_ID)
    structlog.contextvars.clear_contextvars()
    if request_id:
        set_request_id(request_id)
        structlog.contextvars.bind_contextvars(request_id=request_id)
    try:
        await receive(message.subject, message.data)
    except Exception:  # whatever it is: it may work the next time, and the others must not wait for it
        _log.exception(EVENT_FAILED, subject=message.subject)
        await message.nak(delay=RETRY_DELAY.total_seconds())
    else:
        await message.ack()
