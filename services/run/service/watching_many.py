"""Following all runs of a team that match a filter.

1. Stand in the feed; 2. read the rows: what has not ended or, from a cursor, what changed since shortly before it;
3. read again those runs that are said to have changed and, now and then, all that did. At least once: a run's
`sequence` tells a repeat.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, select

from services.common.clock import Clock
from services.common.filtering import parse_filter, to_clause
from services.common.sql import Database
from services.run.feed import RunFeed
from services.run.model.run import RunSnapshot
from services.run.model.state import TERMINAL_STATES
from services.run.service.query import FIELDS
from services.run.store.runs import snapshots
from services.run.store.tables import RUN

LOOK_EVERY = timedelta(seconds=5)
LOOK_BACK = timedelta(minutes=1)
"""Transactions become visible out of the order of their times, and clocks of replicas differ: by far less than so."""
RUNS_READ = 200
REMEMBERED = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A run that matches, as it is now."""

    snapshot: RunSnapshot
    cursor: datetime


class ManyRunsWatching:
    """The use case of WatchRuns."""

    def __init__(self, *, database: Database, feed: RunFeed, clock: Clock) -> None:
        self._database = database
        self._feed = feed
        self._clock = clock

    async def watch(self, *, team_id: str, filter_text: str, cursor: datetime | None) -> AsyncGenerator[Change, None]:
        """The runs of now, or those that changed since `cursor`, then each again when it changes; without end.

        InvalidArgument for a malformed filter.
        """
        matching = [RUN.c.team_id == team_id, to_clause(parse_filter(filter_text), FIELDS)]
        sent: dict[str, int] = {}
        began = self._clock.now()
        reached = cursor or began
        with self._feed.watch_changes() as watcher:
            if cursor is None:
                going_on = RUN.c.state.not_in([state.value for state in TERMINAL_STATES])
                pages = self._pages([*matching, going_on], RUN.c.id)
            else:
                pages = self._pages([*matching, RUN.c.change_time >= _before(cursor)], RUN.c.change_time)
            async for snapshot in pages:
                sent[snapshot.run.id] = snapshot.run.sequence
                if cursor is not None:
                    reached = max(reached, snapshot.run.change_time)
                yield Change(snapshot=snapshot, cursor=reached)
            while True:
                heard = await watcher.wait(LOOK_EVERY)
                run_ids = watcher.take()
                if heard:
                    changed = await self._by_ids(matching, run_ids)
                else:
                    since = [*matching, RUN.c.change_time >= _before(reached)]
                    changed = [one async for one in self._pages(since, RUN.c.change_time)]
                for snapshot in sorted(changed, key=lambda one: one.run.change_time):
                    run = snapshot.run
                    if sent.get(run.id, 0) >= run.sequence:
                        continue
                    sent.pop(run.id, None)
                    sent[run.id] = run.sequence
                    if len(sent) > REMEMBERED:
                        del sent[next(iter(sent))]
                    reached = max(reached, run.change_time)
                    yield Change(snapshot=snapshot, cursor=reached)

    async def _by_ids(self, matching: Sequence[ColumnElement[bool]], run_ids: Sequence[str]) -> list[RunSnapshot]:
        found: list[RunSnapshot] = []
        for start in range(0, len(run_ids), RUNS_READ):
            some = run_ids[start : start + RUNS_READ]
            found += await self._read(select(RUN).where(*matching, RUN.c.id.in_(some)))
        return found

    async def _pages(
        self, condition: Sequence[ColumnElement[bool]], order: ColumnElement[Any]
    ) -> AsyncIterator[RunSnapshot]:
        """All runs under a condition, a bounded number at a time."""
        query = select(RUN).where(*condition).order_by(order, RUN.c.id).limit(RUNS_READ)
        last: RunSnapshot | None = None
        while True:
            page = query
            if last is not None and order is RUN.c.id:
                page = query.where(RUN.c.id > last.run.id)
            elif last is not None:
                later = RUN.c.change_time > last.run.change_time
                beside = (RUN.c.change_time == last.run.change_time) & (RUN.c.id > last.run.id)
                page = query.where(later | beside)
            found = await self._read(page)
            for snapshot in found:
                yield snapshot
            if len(found) < RUNS_READ:
                return
            last = found[-1]

    async def _read(self, query: Select[Any]) -> list[RunSnapshot]:
        return await self._database.read(lambda session: snapshots(session, query))


def _before(cursor: datetime) -> datetime:
    """Shortly before a cursor, which may be any time that can be written."""
    earliest = datetime.min.replace(tzinfo=cursor.tzinfo)
    return cursor - LOOK_BACK if cursor - earliest > LOOK_BACK else earliest
