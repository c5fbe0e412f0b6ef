"""Following runs: subscribe first, then read the rows, then relay (EXECUTION C1).

What is logged reaches a watcher exactly once and in order, whatever becomes of hints: a gap, and every few seconds
without a word, is repaired from the rows. Progress and previews come as they come.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlmodel import Session

from services.common.errors import InvalidArgument, OutOfRange, Violation
from services.common.sql import Database
from services.run.feed import Arrivals, RunFeed, RunWatcher
from services.run.model.event import LoggedEvent
from services.run.model.progress import RunPreview, RunProgress
from services.run.model.run import Run, RunSnapshot
from services.run.service.query import run_not_found
from services.run.store.events import events_after
from services.run.store.runs import run_by_id, snapshot_of

LOOK_EVERY = timedelta(seconds=5)
"""So often a watcher without news reads the rows."""
EVENTS_READ = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Occurrence:
    """A logged event; with the run as it was at its end, if this ended it."""

    event: LoggedEvent
    ended: RunSnapshot | None = None


Sight = RunSnapshot | Occurrence | RunProgress | RunPreview
"""What a watcher sees."""


class RunWatching:
    """The use cases of WatchRun and WaitRun."""

    def __init__(self, *, database: Database, feed: RunFeed) -> None:
        self._database = database
        self._feed = feed

    async def watch(
        self, run_id: str, *, team_id: str, after: int | None, progress: bool = True, previews: bool = False
    ) -> AsyncGenerator[Sight, None]:
        """A snapshot, or without one every event after the cursor `after`; then what follows, to the run's end.

        NotFound RUN_NOT_FOUND; OutOfRange CURSOR_BEYOND_END.
        """
        if after is not None and after < 0:
            raise InvalidArgument(violations=[Violation("after_sequence", "OUT_OF_RANGE", "Give 0 or more.")])
        with self._feed.watch(run_id, progress=progress, previews=previews) as watcher:
            if after is None:
                snapshot = await self._database.glance(lambda session: snapshot_of(session, run_id, team_id=team_id))
                if snapshot is None:
                    raise run_not_found()
                async for sight in self.from_snapshot(watcher, snapshot):
                    yield sight
                return
            run = await self._database.glance(lambda session: _run_at(session, run_id, team_id, after))
            if run.state.is_terminal and run.sequence == after:
                return
            async for sight in self._follow(watcher, run_id, after, look_first=True):
                yield sight

    async def from_snapshot(self, watcher: RunWatcher, snapshot: RunSnapshot) -> AsyncGenerator[Sight, None]:
        """The snapshot, then what follows it; the watcher stood there before the snapshot was taken."""
        yield snapshot
        if not snapshot.run.state.is_terminal:
            async for sight in self._follow(watcher, snapshot.run.id, snapshot.run.sequence):
                yield sight

    async def wait(self, run_id: str, *, team_id: str, timeout: timedelta) -> RunSnapshot:
        """The run when it has ended, or when the time is up; NotFound RUN_NOT_FOUND."""
        latest: RunSnapshot | None = None
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                async for sight in self.watch(run_id, team_id=team_id, after=None, progress=False):
                    if isinstance(sight, RunSnapshot):
                        latest = sight
                    elif isinstance(sight, Occurrence) and sight.ended is not None:
                        latest = sight.ended
        except TimeoutError:
            latest = None
        if latest is not None:
            return latest
        found = await self._database.glance(lambda session: snapshot_of(session, run_id, team_id=team_id))
        if found is None:
            raise run_not_found()
        return found

    async def _follow(
        self, watcher: RunWatcher, run_id: str, last: int, *, look_first: bool = False
    ) -> AsyncGenerator[Sight, None]:
        """Everything after event `last`, to the run's end."""
        look, attempt = look_first, 0
        while True:
            arrivals = watcher.take()
            events: Sequence[LoggedEvent] = _next(arrivals.events, last)
            if look or (not events and arrivals.known_sequence > last):
                events = await self._read_after(run_id, last)
            for event in events:
                last, attempt = event.sequence, max(attempt, event.attempt)
                yield await self._occurrence(event, arrivals)
                if event.ends_run:
                    return
            for passing in (arrivals.progress, arrivals.preview):
                if passing is not None and passing.attempt >= attempt:
                    yield passing
            if not events or arrivals.known_sequence <= last:
                look = not await watcher.wait(LOOK_EVERY)

    async def _read_after(self, run_id: str, last: int) -> Sequence[LoggedEvent]:
        return await self._database.glance(lambda session: events_after(session, run_id, last, limit=EVENTS_READ))

    async def _occurrence(self, event: LoggedEvent, arrivals: Arrivals) -> Occurrence:
        if not event.ends_run:
            return Occurrence(event=event)
        ended = arrivals.ended
        if ended is None:
            ended = await self._database.glance(lambda session: snapshot_of(session, event.run_id))
        return Occurrence(event=event, ended=ended)


def _next(events: Sequence[LoggedEvent], last: int) -> list[LoggedEvent]:
    """The events that follow `last` without a gap."""
    following: list[LoggedEvent] = []
    for event in events:
        if event.sequence == last + 1:
            following.append(event)
            last += 1
        elif event.sequence > last:
            break
    return following


def _run_at(session: Session, run_id: str, team_id: str, after: int) -> Run:
    run = run_by_id(session, run_id, team_id=team_id)
    if run is None:
        raise run_not_found()
    if after > run.sequence:
        raise OutOfRange(
            "The cursor is beyond the run's events; it is of another run.",
            reason="CURSOR_BEYOND_END",
            metadata={"sequence": str(run.sequence)},
        )
    return run
