"""From a room's outbox to JetStream: a fact is committed with the change it tells of, and published afterwards."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

import structlog
from nats.errors import Error
from nats.js.errors import NoStreamResponseError

from services.common.errors import Unavailable
from services.common.events.cancelled import raise_if_cancelled
from services.common.events.nats import Nats
from services.common.events.publisher import Publisher
from services.common.events.stream import STREAM, ensure_stream
from services.common.outbox_event import OutboxEvent

RELAY_FAILED = "relay_failed"
STREAM_MADE = "stream_made"

BATCH = 100
POLL = timedelta(seconds=2)
"""The slow twin of `wake`."""
GATHER = timedelta(milliseconds=250)
"""So long facts gather before they are published together: many cost little more than one, and listeners have 1 s."""
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
    """Publishes an outbox, at least once each; `Nats-Msg-Id` makes the stream drop most repeats.

    `gather`: how long it lets facts gather after the first one.
    """

    def __init__(self, *, outbox: Outbox, nats: Nats, gather: timedelta = GATHER) -> None:
        self._outbox = outbox
        self._nats = nats
        self._gather = gather
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something was committed."""
        self._woken.set()

    async def run(self) -> None:
        """Publish until cancelled, whatever happens to NATS or to the database meanwhile."""
        pause = FIRST_PAUSE
        while True:
            publisher = await self._nats.wait_publisher()
            self._woken.clear()
            try:
                events = await self._outbox.unpublished(BATCH)
                refused = await self._publish(publisher, events)
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
        await asyncio.sleep(self._gather.total_seconds())

    async def _publish(self, publisher: Publisher, events: Sequence[OutboxEvent]) -> Exception | None:
        """Publish and mark what was acknowledged; the first refusal, if any, is returned."""
        if not events:
            return None
        outcomes = await publisher.publish(events)
        taken = [event.id for event, refusal in zip(events, outcomes, strict=True) if refusal is None]
        if taken:
            await self._outbox.mark_published(taken)
        refusals = [refusal for refusal in outcomes if refusal is not None]
        if any(isinstance(refusal, NoStreamResponseError) for refusal in refusals):
            await ensure_stream(publisher.js)
            _log.warning(STREAM_MADE, stream=STREAM)  # at a first start, or after its store was lost
        return refusals[0] if refusals else None
