"""Stopping runs that somebody asks to stop, and runs that have waited too long."""

from services.common.clock import Clock
from services.common.sql import Database
from services.run.feed import RunFeed
from services.run.model.run import RunSnapshot
from services.run.service.query import run_not_found
from services.run.service.wakes import Wakes
from services.run.store.cancellation import Stopped, cancel, overdue, time_out


class RunCancellation:
    """The use cases that end runs from outside."""

    def __init__(self, *, database: Database, feed: RunFeed, wakes: Wakes, clock: Clock) -> None:
        self._database = database
        self._feed = feed
        self._wakes = wakes
        self._clock = clock

    async def cancel(self, run_id: str, *, team_id: str) -> RunSnapshot:
        """Ask that a run stop: a waiting one is CANCELLED now, an executing one is told; an ended one stays as it is.

        NotFound RUN_NOT_FOUND.
        """
        now = self._clock.now()
        stopped = await self._database.write(lambda session: cancel(session, run_id, team_id=team_id, now=now))
        if stopped is None:
            raise run_not_found()
        self._tell(stopped)
        return stopped.snapshot

    async def time_out_waiting(self) -> int:
        """End the runs whose time to wait is over, a bounded number of them; how many there were."""
        now = self._clock.now()
        run_ids = await self._database.read(lambda session: overdue(session, now=now))
        if not run_ids:
            return 0
        ended = await self._database.write(
            lambda session: [one for run_id in run_ids if (one := time_out(session, run_id, now=now)) is not None]
        )
        for stopped in ended:
            self._tell(stopped)
        return len(ended)

    def _tell(self, stopped: Stopped) -> None:
        run = stopped.snapshot.run
        ended = stopped.snapshot if run.state.is_terminal else None
        self._feed.announce(run.id, stopped.events, terminal_run=ended)
        if stopped.dispatcher_id is not None:
            self._wakes.cancel_requested(stopped.dispatcher_id)
