"""One transaction for all that a report says: ends, beginnings, outputs, leases, runners, and the next runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlmodel import Session

from services.common.errors import Unavailable
from services.run.model.assignment import Assignment
from services.run.model.decision import Decision, decide
from services.run.model.desire import HeldExecution, Holding
from services.run.model.digest import Change, Digest, Kind
from services.run.model.report import ExecutionReport, Finish, Outcome, Phase, RunnerReport
from services.run.model.requirements import Requirements
from services.run.model.run import RunSpec
from services.run.model.runner import Owner
from services.run.service.fleet import Fleet
from services.run.store.assignment import class_of
from services.run.store.attempt import CurrentAttempt, reported_attempt
from services.run.store.board import fill
from services.run.store.fleet import renew_lease, session_of, set_draining, superseded, update_runners
from services.run.store.holding import read_holding, read_specs
from services.run.store.lapse import end_from_outside
from services.run.store.outcome import (
    Recorded,
    record_begun,
    record_end,
    record_found_again,
    record_submitted,
    stored_outputs,
    unrecorded,
)
from services.run.store.refusal import add_missing, store_progress
from services.run.store.tally import Tally

MOST_IDLE = 8
"""Idle runners that are looked at beside those that have become free; the matcher looks at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Who reports: the stream and its session."""

    owner: Owner
    dispatcher_id: str
    session_id: str
    stream: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Errand:
    """What is to be written."""

    digest: Digest
    renew: timedelta | None = None
    """For how long to renew the lease; None: not now."""
    runners: tuple[RunnerReport, ...] | None = None
    """What the runners say, if it is something new."""
    draining: bool | None = None
    """Whether it wants new work, if that is something new."""


@dataclass(kw_only=True)
class Settled:
    """What was written, for those who announce it after the commit."""

    holding: Holding
    specs: Mapping[str, RunSpec]
    recorded: list[Recorded] = field(default_factory=list)
    assigned: list[Assignment] = field(default_factory=list)
    settled: set[tuple[str, int]] = field(default_factory=set)
    """Executions that the rows are done with."""
    refused: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """What runners turned out to lack."""
    changed_runner_ids: tuple[str, ...] = ()
    waits: bool = False
    """Whether a run waits now that did not."""


class Settlement:
    """The transactions of one stream."""

    def __init__(self, *, fleet: Fleet, standing: Standing) -> None:
        self._fleet = fleet
        self._standing = standing

    def settle(
        self, session: Session, errand: Errand, *, known_specs: frozenset[str], catalogues: bool, now: datetime
    ) -> Settled:
        """Write the errand and read what the dispatcher holds then.

        Aborted SUPERSEDED if the session or the stream is not the dispatcher's any more, Unavailable LEASE_LAPSED if
        its lease was over. `known_specs`: runs whose specs need no reading.
        """
        self._check(session, errand, now)
        changed: tuple[str, ...] = ()
        if errand.runners is not None:
            who = self._standing
            changed = update_runners(session, who.dispatcher_id, who.owner, errand.runners, now=now)
        if errand.draining is not None:
            set_draining(session, self._standing.dispatcher_id, draining=errand.draining)
        return self.record(
            session, errand.digest, changed=changed, known_specs=known_specs, catalogues=catalogues, now=now
        )

    def record(
        self,
        session: Session,
        digest: Digest,
        *,
        changed: tuple[str, ...],
        known_specs: frozenset[str],
        catalogues: bool,
        now: datetime,
    ) -> Settled:
        """Write what reports say, by a session that was checked in this transaction."""
        tally, done = Tally(), Settled(holding=_NOTHING, specs={}, changed_runner_ids=changed)
        freed: list[str] = []
        for change in digest.changes:
            runner_id = self._apply(session, tally, change, done, now)
            if runner_id is not None:
                freed.append(runner_id)
        progress = [(one.run_id, one.progress) for one in digest.progress if one.progress is not None]
        if progress:
            store_progress(session, progress, now=now)
        if digest.lapsed:
            done.recorded += end_from_outside(session, _runs(digest.lapsed), Outcome.LAPSED, now=now)
            done.waits = True
        if freed and self._fleet.leading:
            idle = sorted(self._fleet.idle)[:MOST_IDLE]
            done.assigned = fill(session, tally, freed, self._fleet.lists_of, self._fleet.choose, idle=idle, now=now)
        tally.write(session)
        done.holding = read_holding(session, self._standing.dispatcher_id, catalogues=catalogues, now=now)
        done.specs = read_specs(session, {one.run_id for one in done.holding.executions} - known_specs)
        return done

    def _check(self, session: Session, errand: Errand, now: datetime) -> None:
        who = self._standing
        session_id, stream = session_of(session, who.dispatcher_id)
        if not session_id:
            raise Unavailable("The lease of this session was over; connect again.", reason="LEASE_LAPSED")
        if session_id != who.session_id or stream != who.stream:
            raise superseded()
        if errand.renew is not None:
            renew_lease(session, who.dispatcher_id, who.session_id, lease=errand.renew, now=now)

    def _apply(self, session: Session, tally: Tally, change: Change, done: Settled, now: datetime) -> str | None:
        """Write one change; the runner whose slot it freed, if it did."""
        report = change.report
        current = reported_attempt(
            session,
            dispatcher_id=self._standing.dispatcher_id,
            run_id=report.run_id,
            attempt=report.attempt,
            runner_id=report.runner_id,
            epoch=report.epoch,
        )
        if current is None:
            done.settled.add(report.key)
            return None
        if report.phase is Phase.FINISHED and report.finish is not None:
            return self._end(session, tally, current, report, report.finish, done, now)
        recorded: Recorded | None = None
        if current.lapsed:
            if report.phase is Phase.RUNNING:
                recorded = record_found_again(session, tally, current, elapsed=report.elapsed, now=now)
            if recorded is None:
                done.settled.add(report.key)
        elif report.phase is Phase.RUNNING or change.kind is Kind.BEGUN:
            recorded = record_begun(session, current, elapsed=report.elapsed, outputs=report.outputs, now=now)
        elif report.submitted:
            record_submitted(session, current, now=now)
        if recorded is not None:
            done.recorded.append(recorded)
        return None

    def _end(
        self,
        session: Session,
        tally: Tally,
        current: CurrentAttempt,
        report: ExecutionReport,
        finish: Finish,
        done: Settled,
        now: datetime,
    ) -> str | None:
        stored = stored_outputs(session, current) if current.outputs_count else ()
        known = current.outputs_count + len(unrecorded(stored, report.outputs))
        if finish.outcome is Outcome.SUCCEEDED and known < report.outputs_count:
            return None  # outputs are missing in this message; the next one, which knows what is recorded, has them
        decision, class_id = self._decide(session, current, finish, now)
        if current.lapsed and decision.retries:
            done.settled.add(report.key)  # it waits for its next attempt already
            return None
        recorded = record_end(
            session, tally, current, decision, finish, outputs=report.outputs, class_id=class_id, now=now
        )
        done.settled.add(report.key)
        if recorded is None:
            return None
        done.recorded.append(recorded)
        done.waits = done.waits or decision.retries
        if finish.outcome is Outcome.SUCCEEDED:
            # At once: the runs that this transaction assigns may be of the same kind.
            self._fleet.learn_duration(current.work_key, finish.execution)
        if finish.missing_capabilities:
            add_missing(session, current.runner_id, finish.missing_capabilities)
            done.refused.append((current.runner_id, finish.missing_capabilities))
        return None if current.lapsed else current.runner_id

    def _decide(
        self, session: Session, current: CurrentAttempt, finish: Finish, now: datetime
    ) -> tuple[Decision, str | None]:
        """What becomes of the run; and its new class, if this runner is not to see it again."""
        if finish.outcome is not Outcome.REJECTED_HERE:
            return decide(current.budget, finish), None
        before = self._fleet.requirements(session, current.class_id)
        after = Requirements(
            runtime=before.runtime,
            tags=before.tags,
            tag_match=before.tag_match,
            node_classes=before.node_classes,
            refused_by=before.refused_by | {current.runner_id},
        )
        others = self._fleet.any_runner_could_serve(after, team_id=current.team_id)
        decision = decide(current.budget, finish, others_eligible=others)
        return decision, class_of(session, after, now=now) if decision.retries else None


def _runs(executions: Sequence[HeldExecution]) -> list[str]:
    return [one.run_id for one in executions]


_NOTHING = Holding(version=0, session_id="", read_at=datetime.min.replace(tzinfo=UTC), runners=(), executions=())
