"""What of a report is worth a transaction: a pure comparison with what the rows are known to say (EXECUTION D).

A short run costs one transaction at its end: that it was submitted, that it executes and what it has made so far are
written only once it has been executing for a while; its end writes them with the same numbers.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto

from services.run.model.desire import SHORT_WORK, HeldExecution
from services.run.model.report import ExecutionReport, Phase
from services.run.model.state import RunState

PROGRESS_EVERY = timedelta(seconds=1)
"""A run's progress is stored at most so often."""

Key = tuple[str, int]
Place = tuple[str, str, int]
"""Node, key and position of an output."""


class Kind(Enum):
    """What is to be written."""

    ENDED = auto()
    BEGUN = auto()
    SUBMITTED = auto()
    LATE = auto()
    """It is not (or no longer) held: the rows decide whether the report counts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One report that says something new."""

    kind: Kind
    report: ExecutionReport


@dataclass(frozen=True, kw_only=True, slots=True)
class Digest:
    """What a report says that the rows do not."""

    changes: tuple[Change, ...]
    progress: tuple[ExecutionReport, ...]
    """Executions whose progress is to be stored."""
    lapsed: tuple[HeldExecution, ...]
    """Held executions that nothing has confirmed for a lease."""
    due: datetime | None
    """When the same report is to be looked at again: a run is not short any more then."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be written."""
        return not (self.changes or self.progress or self.lapsed)


@dataclass(kw_only=True)
class Memory:
    """What one stream remembers of its executions; nothing that a reconnect would miss."""

    first_seen: dict[Key, datetime] = field(default_factory=dict)
    """Since when the backend is known to have it."""
    confirmed: dict[Key, datetime] = field(default_factory=dict)
    """When the backend last confirmed it."""
    progress_stored: dict[Key, datetime] = field(default_factory=dict)
    outputs_written: dict[Key, set[Place]] = field(default_factory=dict)
    """Places of outputs that were written, or looked up, by this stream."""
    settled: set[Key] = field(default_factory=set)
    """Reported still, though the rows are done with it."""

    def wrote(self, changes: Collection["Change"]) -> None:
        """These changes are committed."""
        for change in changes:
            if change.report.outputs:
                places = self.outputs_written.setdefault(change.report.key, set())
                places.update(one.place for one in change.report.outputs)

    def forget_all_but(self, held: Collection[Key], reported: Collection[Key]) -> None:
        """Drop what concerns executions that are gone."""
        for record in (self.first_seen, self.confirmed, self.progress_stored, self.outputs_written):
            for key in [key for key in record if key not in held]:
                del record[key]
        self.settled &= set(reported)


def digest(
    reports: Collection[ExecutionReport],
    held: Mapping[Key, HeldExecution],
    memory: Memory,
    *,
    lease: timedelta,
    now: datetime,
) -> Digest:
    """What is new in `reports`; notes in `memory` what was seen."""
    changes: list[Change] = []
    progress: list[ExecutionReport] = []
    due: list[datetime] = []
    for report in reports:
        known = held.get(report.key)
        if known is None:
            if report.key not in memory.settled and not report.orphan and _counts_late(report):
                changes.append(Change(kind=Kind.LATE, report=report))
            continue
        if report.epoch != known.epoch or report.runner_id != known.runner_id:
            continue  # of an earlier grant: it does not count
        memory.confirmed[report.key] = now - report.observed_age
        kind = _kind(report, known, memory)
        if kind is None:
            pass
        elif kind is Kind.ENDED or (ripe := _ripe_at(report, memory, now)) <= now:
            changes.append(Change(kind=kind, report=report))
        else:
            due.append(ripe)
        if report.progress is not None and known.state is RunState.RUNNING and report.phase is Phase.RUNNING:
            stored = memory.progress_stored.get(report.key)
            if stored is None or now - stored >= PROGRESS_EVERY:
                progress.append(report)
    return Digest(
        changes=tuple(changes),
        progress=tuple(progress),
        lapsed=tuple(one for one in held.values() if now - memory.confirmed.setdefault(one.key, now) > lease),
        due=min(due, default=None),
    )


def _kind(report: ExecutionReport, known: HeldExecution, memory: Memory) -> Kind | None:
    if report.phase is Phase.FINISHED:
        return Kind.ENDED
    begins = report.phase is Phase.RUNNING and known.state is RunState.DISPATCHED
    if begins or (report.outputs and _has_unwritten(report, known, memory)):
        return Kind.BEGUN
    return Kind.SUBMITTED if report.submitted and not known.submitted else None


def _has_unwritten(report: ExecutionReport, known: HeldExecution, memory: Memory) -> bool:
    """By place too, since the ordinals of a dispatcher that was started again are others (EXECUTION C3)."""
    written: Collection[Place] = memory.outputs_written.get(report.key, ())
    return any(one.ordinal >= known.outputs_count or one.place not in written for one in report.outputs)


def _ripe_at(report: ExecutionReport, memory: Memory, now: datetime) -> datetime:
    """From when on the run is not short any more."""
    seen = memory.first_seen.setdefault(report.key, now)
    return min(seen, now - report.elapsed) + SHORT_WORK


def _counts_late(report: ExecutionReport) -> bool:
    return report.phase in (Phase.FINISHED, Phase.RUNNING)
