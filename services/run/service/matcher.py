"""The one matcher: gives waiting runs to runners, for all replicas (EXECUTION B2)."""

import asyncio
from datetime import timedelta

import structlog
from sqlmodel import Session

from services.common.clock import Clock
from services.common.errors import Unavailable
from services.common.sql import Database
from services.run.feed import RunFeed
from services.run.model.placement import recalls
from services.run.service.fleet import Fleet
from services.run.service.wakes import Wakes
from services.run.store.board import Board, read_board, write_placements, write_recalls

LOOK_EVERY = timedelta(seconds=1)
"""The slow twin of every hint."""
IN_VAIN = timedelta(milliseconds=20)
"""After a pass that could place nothing the next waits so long: a burst of new runs wakes it once, not each time."""
MOST_AT_ONCE = 200
"""Assignments of one transaction."""
PASS_FAILED = "matcher_pass_failed"  # noqa: S105 # an event name

_log = structlog.get_logger()


class Matcher:
    """Looks at what waits and who has room, when it is told to and every second."""

    def __init__(self, *, database: Database, fleet: Fleet, feed: RunFeed, wakes: Wakes, clock: Clock) -> None:
        self._database = database
        self._fleet = fleet
        self._feed = feed
        self._wakes = wakes
        self._clock = clock
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """A run waits, or a runner has room."""
        self._woken.set()

    async def run(self) -> None:
        """Stand by, and match while this process leads; for ever."""
        await self._database.lead("run-matcher", self._lead)

    async def keep_informed(self) -> None:
        """Renew, for ever, what this process knows of runners, whether it leads or not."""
        while True:
            try:
                await self._fleet.refresh(self._database)
            except Unavailable as error:
                _log.warning(PASS_FAILED, error=error.message)
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def match(self) -> int:
        """One pass; how many runs it gave away."""
        now = self._clock.now()

        def read(session: Session) -> Board:
            board = read_board(session, now=now)
            self._fleet.learn_classes(session, {class_id for class_id, _ in board.lists})
            self._fleet.learn_classes(session, {run.class_id for run in board.ahead})
            return board

        board = await self._database.read(read)
        self._fleet.lists = frozenset(board.lists)
        self._fleet.idle = {runner.runner_id for runner in board.runners if runner.busy == 0}
        placements = self._fleet.choose(board.waiting, board.runners)[:MOST_AT_ONCE]
        if not placements:
            await self._recall(board)
            return 0
        made = await self._database.write(lambda session: write_placements(session, placements, now=now))
        for assignment in made:
            self._fleet.idle.discard(assignment.run.runner_id or "")
            self._feed.announce(assignment.run.id, assignment.events)
        for dispatcher_id in {assignment.dispatcher_id for assignment in made}:
            self._wakes.assigned(dispatcher_id)
        return len(made)

    async def _recall(self, board: Board) -> None:
        wanted = recalls(board.ahead, board.runners, eligible=self._fleet.eligible)
        if wanted:
            await self._database.write(lambda session: write_recalls(session, wanted))
            for dispatcher_id in {run.dispatcher_id for run in wanted}:
                self._wakes.assigned(dispatcher_id)

    async def _lead(self) -> None:
        self._fleet.leading = True
        try:
            while True:
                self._woken.clear()
                try:
                    placed = await self.match()
                    if placed == MOST_AT_ONCE:
                        continue
                    if not placed:
                        await asyncio.sleep(IN_VAIN.total_seconds())
                except Unavailable as error:
                    _log.warning(PASS_FAILED, error=error.message)
                await self._wait()
        finally:
            self._fleet.leading = False

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_EVERY.total_seconds()):
                await self._woken.wait()
        except TimeoutError:
            return
