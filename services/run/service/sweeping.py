"""What the run room does now and then, whatever else happens."""

import asyncio
from datetime import timedelta

import structlog

from services.common.clock import Clock
from services.common.errors import Unavailable
from services.common.sql import Database
from services.run.service.cancellation import RunCancellation
from services.run.store.creation import forget_requests

SWEEP_FAILED = "run_sweep_failed"
DEADLINES_EVERY = timedelta(seconds=1)
REQUESTS_EVERY = timedelta(minutes=10)
KEEP_REQUESTS = timedelta(hours=48)
"""How long a replay of a request is recognised: promised are 24 hours (EXECUTION C6)."""
_BATCH = 200

_log = structlog.get_logger()


class RunSweeping:
    """Ends runs that waited too long, and forgets old requests."""

    def __init__(self, *, database: Database, cancellation: RunCancellation, clock: Clock) -> None:
        self._database = database
        self._cancellation = cancellation
        self._clock = clock

    async def keep_deadlines(self) -> None:
        """Until cancelled."""
        while True:
            try:
                while await self._cancellation.time_out_waiting():
                    continue
            except Unavailable:
                _log.warning(SWEEP_FAILED, sweep="deadlines")
            await asyncio.sleep(DEADLINES_EVERY.total_seconds())

    async def keep_requests(self) -> None:
        """Until cancelled."""
        while True:
            try:
                while await self.forget_requests() == _BATCH:
                    continue
            except Unavailable:
                _log.warning(SWEEP_FAILED, sweep="requests")
            await asyncio.sleep(REQUESTS_EVERY.total_seconds())

    async def forget_requests(self) -> int:
        """Forget a batch of old requests; how many there were."""
        before = self._clock.now() - KEEP_REQUESTS
        return await self._database.write(lambda session: forget_requests(session, before=before, limit=_BATCH))
