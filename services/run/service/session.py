"""One stream of Synchronize: reports come in, desired states go out, each newest message in place of older ones.

1. The first report opens the session: the dispatcher's runners are granted to it, its late reports are counted.
2. Each report is compared with what the rows are known to say; what is new is written in one transaction, which also
   reads what the dispatcher holds then.
3. A wake, or two seconds, make it read again.
4. A desired state is offered when it differs from the last, and at least every five seconds.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlmodel import Session

from services.common.clock import Clock
from services.common.sql import Database
from services.run.feed import RunFeed
from services.run.model.desire import DesiredState, Holding
from services.run.model.digest import Change, Digest, Kind, Memory, digest
from services.run.model.progress import RunProgress
from services.run.model.report import ExecutionReport, Phase, RunnerReport, StateReport
from services.run.model.run import RunSpec
from services.run.model.state import RunState
from services.run.service.desk import Desk
from services.run.service.fleet import Fleet
from services.run.service.settlement import Errand, Settled, Settlement, Standing
from services.run.service.sweeper import announce
from services.run.service.wakes import Wakes
from services.run.store.fleet import leave, open_session, session_of, superseded
from services.run.store.holding import read_holding, read_specs

READ_EVERY = timedelta(seconds=2)
"""The slow twin of wakes."""
SEND_EVERY = timedelta(seconds=5)
"""A desired state goes out at least so often."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """What all streams of this process share."""

    database: Database
    fleet: Fleet
    feed: RunFeed
    wakes: Wakes
    clock: Clock
    lease: timedelta


class DispatcherSession:
    """One stream's work: `open` it, let `work` run until it ends; `offer` and `wake` it, and send what `take` gives."""

    def __init__(self, *, room: Room, standing: Standing, desk: Desk, first: StateReport) -> None:
        self._room = room
        self._standing = standing
        self._desk = desk
        self._settlement = Settlement(fleet=room.fleet, standing=standing)
        self._memory = Memory()
        self._progress: dict[tuple[str, int], RunProgress] = {}
        self._report = first
        self._has_report = True
        self._holding: Holding | None = None
        self._specs: dict[str, RunSpec] = {}
        self._runners: tuple[RunnerReport, ...] | None = None
        """As last written."""
        self._draining = False
        self._catalogues = True
        self._must_read = False
        self._superseded = False
        now = room.clock.now()
        self._renewed_at = self._read_at = self._sent_at = now
        self._due: datetime | None = None
        self._sent: object = None
        self._woken = asyncio.Event()
        self._outgoing: DesiredState | None = None
        self._has_outgoing = asyncio.Event()

    @property
    def standing(self) -> Standing:
        """Who reports here."""
        return self._standing

    def offer(self, report: StateReport) -> None:
        """Take a newer report; one that was not looked at yet is dropped, since each is complete."""
        self._report, self._has_report = report, True
        self._woken.set()

    def wake(self) -> None:
        """The rows have changed, or may have."""
        self._must_read = True
        self._woken.set()

    def look_for_catalogues(self) -> None:
        """A catalogue has come: it need not be wanted any more."""
        self._catalogues = True
        self.wake()

    def holds(self, run_id: str, attempt: int) -> bool:
        """Whether that execution is this dispatcher's."""
        return self._holding is not None and any(one.key == (run_id, attempt) for one in self._holding.executions)

    def holds_run(self, run_id: str) -> bool:
        """Whether any attempt of the run is this dispatcher's."""
        return self._holding is not None and any(one.run_id == run_id for one in self._holding.executions)

    def supersede(self) -> None:
        """A newer stream of the same dispatcher is open."""
        self._superseded = True
        self._woken.set()

    async def take(self) -> DesiredState:
        """The newest desired state that was not taken yet; waits for one."""
        await self._has_outgoing.wait()
        self._has_outgoing.clear()
        assert self._outgoing is not None
        return self._outgoing

    async def work(self) -> None:
        """Work until cancelled. Aborted SUPERSEDED, Unavailable."""
        while True:
            self._offer_desired()
            await self._wait()
            if self._superseded:
                raise superseded()
            if self._has_report or self._is_due():
                await self._digest()
                self._show_progress()
            if self._must_read or self._room.clock.now() - self._read_at >= READ_EVERY:
                await self._read()

    async def close(self) -> None:
        """Say that the stream is gone, if nobody else has taken its place."""
        who = self._standing

        def write(session: Session) -> None:
            leave(session, who.dispatcher_id, who.session_id, stream=who.stream)

        await self._room.database.write(write)

    async def open(self) -> None:
        """Make the first report's session the dispatcher's. Aborted SUPERSEDED if a newer one was seen before."""
        report, now = self._take_report(), self._room.clock.now()
        who, room = self._standing, self._room
        late = tuple(Change(kind=Kind.LATE, report=one) for one in report.executions if _may_count(one))

        def write(session: Session) -> Settled:
            opened = open_session(session, who.owner, report, stream=who.stream, lease=room.lease, now=now)
            return self._settlement.record(
                session,
                Digest(changes=late, progress=(), lapsed=(), due=None),
                changed=opened.changed_runner_ids,
                known_specs=frozenset(),
                catalogues=True,
                now=now,
            )

        settled = await room.database.write(write)
        self._runners, self._draining, self._renewed_at = report.runners, report.draining, now
        await self._after(settled)
        room.wakes.queued()

    async def _digest(self) -> None:
        report, now = self._take_report(), self._room.clock.now()
        assert self._holding is not None
        held = {one.key: one for one in self._holding.executions}
        found = digest(report.executions, held, self._memory, lease=self._room.lease, now=now)
        self._memory.forget_all_but(held, [one.key for one in report.executions])
        self._due = found.due
        renews = now - self._renewed_at >= self._room.lease / 3
        errand = Errand(
            digest=found,
            renew=self._room.lease if renews else None,
            runners=self._runners_to_write(report, renews=renews),
            draining=None if report.draining == self._draining else report.draining,
        )
        if found.is_empty and errand.renew is None and errand.runners is None and errand.draining is None:
            return
        known, catalogues = self._known_specs(), self._catalogues or errand.runners is not None
        settled = await self._room.database.write(
            lambda session: self._settlement.settle(session, errand, known_specs=known, catalogues=catalogues, now=now)
        )
        if errand.renew is not None:
            self._renewed_at = now
        if errand.runners is not None:
            self._runners = errand.runners
        self._draining = report.draining
        self._memory.wrote(found.changes)
        for one in found.progress:
            self._memory.progress_stored[one.key] = now
        await self._after(settled)
        if settled.changed_runner_ids or settled.waits or (errand.runners is not None and not renews):
            self._room.wakes.queued()

    def _show_progress(self) -> None:
        """Pass on progress that is not what was passed on last, of runs whose watchers know that they execute."""
        assert self._holding is not None
        begun = {one.key for one in self._holding.executions if one.state is RunState.RUNNING}
        said = {
            one.key: one.progress
            for one in self._report.executions
            if one.progress is not None and one.key in begun and one.phase is Phase.RUNNING
        }
        for key, progress in said.items():
            if self._progress.get(key) != progress:
                self._room.feed.progress(key[0], progress)
        self._progress = said

    async def _after(self, settled: Settled) -> None:
        """After a commit: tell watchers, remember, and let the matcher know what it can use."""
        room = self._room
        for assignment in settled.assigned:
            room.feed.announce(assignment.run.id, assignment.events)
            room.fleet.idle.discard(assignment.run.runner_id or "")
            if assignment.dispatcher_id != self._standing.dispatcher_id:
                room.wakes.assigned(assignment.dispatcher_id)
        for recorded in settled.recorded:
            announce(room.feed, recorded)
        self._remember(settled.holding, settled.specs)
        self._memory.settled |= settled.settled
        for runner_id, missing in settled.refused:
            room.fleet.lacks(runner_id, missing)
        busy = {one.runner_id for one in settled.holding.executions}
        room.fleet.idle |= {
            recorded.run.runner_id
            for recorded in settled.recorded
            if recorded.run is not None and recorded.run.runner_id and recorded.run.runner_id not in busy
        }
        if settled.changed_runner_ids:
            await room.fleet.refresh(room.database)

    async def _read(self) -> None:
        who, now, known, catalogues = self._standing, self._room.clock.now(), self._known_specs(), self._catalogues
        self._must_read = False

        def read(session: Session) -> tuple[Holding, dict[str, RunSpec]]:
            session_id, stream = session_of(session, who.dispatcher_id)
            if session_id and (session_id, stream) != (who.session_id, who.stream):
                raise superseded()
            holding = read_holding(session, who.dispatcher_id, catalogues=catalogues, now=now)
            return holding, read_specs(session, {one.run_id for one in holding.executions} - known)

        holding, specs = await self._room.database.glance(read)
        if self._holding is None or holding.version >= self._holding.version:
            self._remember(holding, specs)
        self._read_at = now

    def _remember(self, holding: Holding, specs: Mapping[str, RunSpec]) -> None:
        self._holding = holding
        held = {one.run_id for one in holding.executions}
        self._specs = {run_id: spec for run_id, spec in {**self._specs, **specs}.items() if run_id in held}
        self._catalogues = bool(holding.wanted_catalogues)
        self._read_at = self._room.clock.now()

    def _offer_desired(self) -> None:
        assert self._holding is not None
        now = self._room.clock.now()
        listed = frozenset(one.key for one in self._report.executions)
        desired = self._desk.draw_up(self._holding, self._specs, listed=listed, now=now)
        self._specs.clear()
        content = _content(desired)
        if content == self._sent and now - self._sent_at < SEND_EVERY:
            return
        self._sent, self._sent_at = content, now
        self._outgoing = desired
        self._has_outgoing.set()

    def _runners_to_write(self, report: StateReport, *, renews: bool) -> tuple[RunnerReport, ...] | None:
        """What the runners say, if it is news; what changes all the time is written with the lease only."""
        if report.runners == self._runners:
            return None
        if renews or self._runners is None or _lasting(report.runners) != _lasting(self._runners):
            return report.runners
        return None

    def _known_specs(self) -> frozenset[str]:
        return self._desk.known_specs() | self._specs.keys()

    def _take_report(self) -> StateReport:
        self._has_report = False
        return self._report

    def _is_due(self) -> bool:
        return self._due is not None and self._due <= self._room.clock.now()

    async def _wait(self) -> None:
        """Until there is a report or a wake, or one of the slow twins is due."""
        now = self._room.clock.now()
        times = [self._read_at + READ_EVERY, self._sent_at + SEND_EVERY, *([self._due] if self._due else [])]
        seconds = max((min(times) - now).total_seconds(), 0.0)
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()


def _lasting(runners: Sequence[RunnerReport]) -> list[RunnerReport]:
    """Without what changes with every run."""
    return [
        replace(one, warm_keys=(), devices=tuple(replace(device, memory_free_bytes=0) for device in one.devices))
        for one in runners
    ]


def _may_count(report: ExecutionReport) -> bool:
    return not report.orphan and (report.phase in (Phase.FINISHED, Phase.RUNNING) or report.submitted)


def _content(desired: DesiredState) -> object:
    """What makes a message worth sending before its time."""
    executions = [
        (
            one.held.key,
            one.held.epoch,
            one.action,
            one.order,
            one.held.submitted,
            one.preview,
            one.held.outputs_count,
            one.token.text,
            one.held.started_at,
        )
        for one in desired.executions
    ]
    sizes = None if desired.complete else sum(one.spec is not None for one in desired.executions)
    return desired.version, desired.runners, executions, desired.wanted_catalogues, sizes
