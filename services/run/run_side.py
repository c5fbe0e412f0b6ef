"""The half of the run room that makes and shows runs, wired; the other half, the queue, gives them away."""

from collections.abc import Coroutine
from typing import Any

from services.common.clock import Clock
from services.common.ids import RandomIds
from services.common.settings import Settings
from services.common.sql import Database
from services.run.feed import RunFeed
from services.run.model.new_run import Policies
from services.run.service.cancellation import RunCancellation
from services.run.service.creation import RunCreation
from services.run.service.ports import Files, Workflows
from services.run.service.preparation import Preparation
from services.run.service.query import RunQuery
from services.run.service.sweeping import RunSweeping
from services.run.service.wakes import Wakes
from services.run.service.watching import RunWatching
from services.run.service.watching_many import ManyRunsWatching
from services.run.servicer.run_servicer import RunServicer, RunUseCases
from services.run.store.creation import Placer


class RunSide:
    """RunService and its loops."""

    def __init__(self, *, database: Database, feed: RunFeed, placer: Placer, wakes: Wakes, clock: Clock) -> None:
        self._database = database
        self._feed = feed
        self._placer = placer
        self._wakes = wakes
        self._clock = clock
        self._cancellation = RunCancellation(database=database, feed=feed, wakes=wakes, clock=clock)

    def servicer(self, *, settings: Settings, workflows: Workflows, files: Files) -> RunServicer:
        """The door, with its use cases behind it."""
        policies = Policies(queue_ttl=settings.queue_ttl, timeout=settings.timeout, max_attempts=settings.max_attempts)
        preparation = Preparation(
            workflows=workflows, files=files, clock=self._clock, ids=RandomIds(), policies=policies
        )
        creation = RunCreation(
            database=self._database, preparation=preparation, placer=self._placer, feed=self._feed, wakes=self._wakes
        )
        use_cases = RunUseCases(
            creation=creation,
            query=RunQuery(database=self._database),
            cancellation=self._cancellation,
            watching=RunWatching(database=self._database, feed=self._feed),
            watching_many=ManyRunsWatching(database=self._database, feed=self._feed, clock=self._clock),
        )
        return RunServicer(use_cases=use_cases, feed=self._feed)

    def loops(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What is to run beside the door, by name."""
        sweeping = RunSweeping(database=self._database, cancellation=self._cancellation, clock=self._clock)
        return {
            "run_interest": self._feed.keep_interest(),
            "run_deadlines": sweeping.keep_deadlines(),
            "run_requests": sweeping.keep_requests(),
        }
