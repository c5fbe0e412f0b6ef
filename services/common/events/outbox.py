"""From a room's outbox to JetStream: a fact is committed with the change it tells of, and published afterwards."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

import structlog
from nats.errors import Error
from nats.js import JetStreamContext
from nats.js.errors import NoStreamResponseError

from services.common.errors import Unavailable
from services.common.events.cancelled import raise_if_cancelled
from services.common.events.nats import Nats
from services.common.events.stream import STREAM, ensure_stream
from services.common.outbox_event import OutboxEvent
from services.common.rpc.metadata import REQUEST_ID

RELAY_FAILED = "relay_failed"
STREAM_MADE = "stream_made"

BATCH = 100
POLL = timedelta(seconds=2)
"""The slow twin of `wake`."""
ACK_SECONDS = 5.0
FIRST_PAUSE = timedelta(milliseconds=200)
LONGEST_PAUSE = timedelta(seconds=5)

_log = structlog.get_logger()


class Outbox(Protocol):
    """Facts of a room that are committed and perhaps not published yet."""

    async def unpublished(self, limit: int) -> Sequence[OutboxEvent]:
        """The oldest of them."""
        ...

    async def mark_published(self, ids: Sequence[str]) -> None:
        """They need no publishing any more."""
        ...


class Relay:
    """Publishes an outbox, at least once each; `Nats-Msg-Id` makes the stream drop most repeats."""

    def __init__(self, *, outbox: Outbox, nats: Nats) -> None:
        self._outbox = outbox
        self._nats = nats
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something was committed."""
        self._woken.set()

    async def run(self) -> None:
        """Publish until cancelled, whatever happens to NATS or to the database meanwhile."""
        pause = FIRST_PAUSE
        while True:
            js = await self._nats.wait_connected()
            self._woken.clear()
            try:
                events = await self._outbox.unpublished(BATCH)
                refused = await self._publish(js, events)
            except (Error, Unavailable, TimeoutError) as error:
                refused = error
            if refused is not None:
                raise_if_cancelled()
                _log.warning(RELAY_FAILED, error=str(refused) or type(refused).__name__)
                await asyncio.sleep(pause.total_seconds())
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            if len(events) < BATCH:
                await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POLL.total_seconds()):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _publish(self, js: JetStreamContext, events: Sequence[OutboxEvent]) -> Exception | None:
        """Publish and mark what was acknowledged; the first refusal, if any, is returned."""
        if not events:
            return None
        outcomes = await asyncio.gather(*(self._publish_one(js, event) for event in events), return_exceptions=True)
        taken = [event.id for event, outcome in zip(events, outcomes, strict=True) if outcome is None]
        if taken:
            await self._outbox.mark_published(taken)
        refusals = [outcome for outcome in outcomes if outcome is not None]
        if not refusals:
            return None
        if any(isinstance(refusal, NoStreamResponseError) for refusal in refusals):
            await ensure_stream(js)
            _log.warning(STREAM_MADE, stream=STREAM)  # at a first start, or after its store was lost
        for refusal in refusals:
            if not isinstance(refusal, Error | TimeoutError):
                raise refusal
            return refusal
        return None

    async def _publish_one(self, js: JetStreamContext, event: OutboxEvent) -> None:
        headers = {"Nats-Msg-Id": event.id}
        if event.request_id:
            headers[REQUEST_ID] = event.request_id
        await js.publish(event.subject, event.body, timeout=ACK_SECONDS, headers=headers)
