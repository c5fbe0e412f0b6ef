"""What this process knows of runners and classes, to decide without reading: renewed every second, never the truth.

What decides in the end is the guard of each assigning transaction; old knowledge costs time only.
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median

from sqlmodel import Session

from services.common.sql import Database
from services.run.model.assignment import Assignment
from services.run.model.placement import OpenRunner, Placement, WaitingRun, place, work_key
from services.run.model.requirements import Offer, Requirements
from services.run.model.run import Run
from services.run.store.assignment import assign, open_runners, others_wait
from services.run.store.board import read_classes, read_node_classes, read_offers, reported_hashes
from services.run.store.tally import Tally

SAMPLES = 15
"""How many durations are remembered of runs that are alike."""
MAX_REMEMBERED = 10_000
TRIED_AT_CREATION = 4
"""Idle runners that the creating transaction looks at; the matcher looks at all."""


class Fleet:
    """The eligibility of runners for classes, and what runs have taken so far."""

    def __init__(self) -> None:
        self.leading = False
        """Whether the one matcher is in this process."""
        self.idle: set[str] = set()
        """Runners thought to have nothing."""
        self.lists: frozenset[tuple[str, str]] = frozenset()
        """(class, team) lists thought to be not empty."""
        self._offers: dict[str, Offer] = {}
        self._classes: dict[str, Requirements] = {}
        self._node_classes: dict[str, frozenset[str]] = {}
        self._eligible: dict[tuple[str, str], frozenset[str]] = {}
        self._durations: dict[str, deque[float]] = {}

    async def refresh(self, database: Database) -> None:
        """Read what runners offer."""
        known = self._node_classes

        def read(session: Session) -> tuple[dict[str, frozenset[str]], list[Offer]]:
            missing = reported_hashes(session) - known.keys()
            found = read_node_classes(session, missing) if missing else {}
            return found, read_offers(session, {**known, **found})

        found, offers = await database.read(read)
        self._node_classes.update(found)
        self._replace({offer.runner_id: offer for offer in offers})

    def learn_classes(self, session: Session, class_ids: Collection[str]) -> None:
        """Read the requirements of classes that are not known yet."""
        unknown = set(class_ids) - self._classes.keys()
        if unknown:
            if len(self._classes) > MAX_REMEMBERED:
                self._classes.clear()
                self._eligible.clear()
                unknown = set(class_ids)
            self._classes.update(read_classes(session, unknown))

    def requirements(self, session: Session, class_id: str) -> Requirements:
        """The requirements of a class."""
        self.learn_classes(session, [class_id])
        return self._classes[class_id]

    def eligible(self, class_id: str, team_id: str) -> frozenset[str]:
        """Ids of the runners that may serve a team's runs of a class; none while the class is not known."""
        key = class_id, team_id
        found = self._eligible.get(key)
        if found is None:
            requirements = self._classes.get(class_id)
            if requirements is None:
                return frozenset()
            if len(self._eligible) > MAX_REMEMBERED:
                self._eligible.clear()
            found = self._eligible[key] = frozenset(
                one.runner_id for one in self._offers.values() if one.serves(team_id) and one.meets(requirements)
            )
        return found

    def any_runner_could_serve(self, requirements: Requirements, *, team_id: str) -> bool:
        """Whether a runner is attached that may serve such a run, be it busy or not."""
        return any(
            offer.attached and offer.serves(team_id) and offer.meets(requirements) for offer in self._offers.values()
        )

    def lists_of(self, runner_id: str) -> Sequence[tuple[str, str]]:
        """The waiting lists that a runner may serve."""
        return [one for one in self.lists if runner_id in self.eligible(*one)]

    def lacks(self, runner_id: str, missing: Collection[str]) -> None:
        """The runner was found to lack something."""
        offer = self._offers.get(runner_id)
        if offer is None or not missing:
            return
        lacking = Offer(
            runner_id=offer.runner_id,
            team_id=offer.team_id,
            runtime=offer.runtime,
            tags=offer.tags,
            node_classes=offer.node_classes,
            attached=offer.attached,
            missing=offer.missing | frozenset(missing),
        )
        self._replace({**self._offers, runner_id: lacking})

    def learn_duration(self, key: str, duration: timedelta) -> None:
        """A run of this kind took so long."""
        if key not in self._durations and len(self._durations) > MAX_REMEMBERED:
            self._durations.clear()
        self._durations.setdefault(key, deque(maxlen=SAMPLES)).append(duration.total_seconds())

    def predict(self, key: str) -> timedelta | None:
        """How long a run of this kind is likely to take; None: nothing is known."""
        samples = self._durations.get(key)
        return timedelta(seconds=median(samples)) if samples else None

    def choose(self, waiting: Sequence[WaitingRun], runners: Sequence[OpenRunner]) -> list[Placement]:
        """The matcher's choice."""
        return place(waiting, runners, eligible=self.eligible, predict=self.predict, most=len(waiting))

    def assign_new_run(self, session: Session, run: Run, *, now: datetime) -> Assignment | None:
        """Give a run that this transaction has made to an idle runner; None: it waits for the matcher.

        Counts it among its team's in either case. Only where the matcher is in this process, and only if nobody of
        its class waits: otherwise it would jump the line.
        """
        tally = Tally()
        tally.share(run.team_id, queued=1)
        assignment = self._assign_at_once(session, tally, run, now) if self.leading else None
        tally.write(session, new_teams=True)
        return assignment

    def _assign_at_once(self, session: Session, tally: Tally, run: Run, now: datetime) -> Assignment | None:
        if not self.idle:
            return None
        self.learn_classes(session, [run.class_id])
        candidates = [one for one in self.eligible(run.class_id, run.team_id) if one in self.idle]
        if not candidates or others_wait(session, run.id, run.class_id):
            return None
        runners = open_runners(session, now=now, runner_ids=candidates[:TRIED_AT_CREATION])
        idle = [runner for runner in runners if runner.busy == 0]
        waiting = WaitingRun(
            run_id=run.id,
            attempt=run.attempt,
            class_id=run.class_id,
            team_id=run.team_id,
            priority=run.priority,
            queued_at=run.queued_at,
            work_key=work_key(run.workflow_id, run.workflow_version, run.class_id),
        )
        for placement in self.choose([waiting], idle):
            assignment = assign(session, tally, placement, now=now)
            if assignment is not None:
                self.idle.discard(placement.runner_id)
                return assignment
        return None

    def _replace(self, offers: Mapping[str, Offer]) -> None:
        if offers != self._offers:
            self._offers = dict(offers)
            self._eligible.clear()
