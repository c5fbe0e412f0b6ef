"""Enforces leases and execution times in the database's time, whatever streams say (EXECUTION A4, A5)."""

import asyncio
from datetime import datetime, timedelta

import structlog
from sqlmodel import Session

from services.common.clock import Clock
from services.common.errors import Unavailable
from services.common.sql import Database, database_now
from services.run.feed import RunFeed
from services.run.model.report import Outcome
from services.run.model.run import RunSnapshot
from services.run.service.wakes import Wakes
from services.run.store.lapse import end_from_outside, extend_leases, lapse_dispatcher, lapsed_dispatchers, overrun
from services.run.store.outcome import Recorded

SWEEP_EVERY = timedelta(seconds=1)
TIMEOUT_GRACE = timedelta(seconds=10)
"""So long the dispatcher, which stops the backend too, may be late with a TIMED_OUT of its own."""
SWEEP_FAILED = "lease_sweep_failed"
LEASE_LAPSED = "lease_lapsed"

_log = structlog.get_logger()


def announce(feed: RunFeed, recorded: Recorded) -> None:
    """Tell watchers what a committed transaction recorded of one run."""
    ended = None
    if recorded.run is not None and recorded.run.state.is_terminal:
        ended = RunSnapshot(run=recorded.run, outputs=recorded.outputs)
    feed.announce(recorded.run_id, recorded.events, terminal_run=ended)


class Sweeper:
    """Ends what nobody else ends."""

    def __init__(self, *, database: Database, feed: RunFeed, wakes: Wakes, lease: timedelta, clock: Clock) -> None:
        self._database = database
        self._feed = feed
        self._wakes = wakes
        self._lease = lease
        self._clock = clock
        self._reachable_since: datetime | None = None

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            try:
                await self.sweep()
            except Unavailable as error:
                _log.warning(SWEEP_FAILED, error=error.message)
                self._reachable_since = None
            await asyncio.sleep(SWEEP_EVERY.total_seconds())

    async def sweep(self) -> None:
        """One round. No lease ends before this process has reached its database for one whole lease."""
        if self._reachable_since is None:
            await self._database.write(
                lambda session: extend_leases(session, until=database_now(session) + self._lease)
            )
            self._reachable_since = self._clock.now()
        now, late = await self._database.read(_read_overrun)
        if late:
            self._tell(
                await self._database.write(lambda session: end_from_outside(session, late, Outcome.TIMED_OUT, now=now))
            )
        if self._clock.now() - self._reachable_since < self._lease:
            return
        for dispatcher_id in await self._database.read(lambda session: lapsed_dispatchers(session, now=now)):
            ended = await self._lapse(dispatcher_id, now)
            _log.warning(LEASE_LAPSED, dispatcher_id=dispatcher_id, runs=len(ended))
            self._tell(ended)
            self._wakes.assigned(dispatcher_id)

    async def _lapse(self, dispatcher_id: str, now: datetime) -> list[Recorded]:
        return await self._database.write(lambda session: lapse_dispatcher(session, dispatcher_id, now=now))

    def _tell(self, ended: list[Recorded]) -> None:
        for recorded in ended:
            announce(self._feed, recorded)
        if ended:
            self._wakes.queued()


def _read_overrun(session: Session) -> tuple[datetime, list[str]]:
    now = database_now(session)
    return now, overrun(session, now=now, grace=TIMEOUT_GRACE)
