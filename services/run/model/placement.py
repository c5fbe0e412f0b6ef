"""Which waiting run goes to which runner: the matcher's choice, as a pure function (EXECUTION B)."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.run.model.desire import SHORT_WORK, UNKNOWN_WORK

LONG_AHEAD = 1
"""How many executions of unknown or long duration wait at a runner beside the executing one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitingRun:
    """The head of a list of runs of one class and team, or one close behind it."""

    run_id: str
    attempt: int
    """Its last attempt; 0: none yet."""
    class_id: str
    team_id: str
    priority: int
    queued_at: datetime
    work_key: str
    """Runs with the same key take about the same time."""

    @property
    def rank(self) -> tuple[int, datetime, str]:
        """Its place in line: priority, then age."""
        return -self.priority, self.queued_at, self.run_id


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenRunner:
    """A runner that may be given work, and what it has."""

    runner_id: str
    dispatcher_id: str
    epoch: int
    execution_slots: int
    ahead_slots: int
    free_slots: tuple[int, ...]
    busy: int
    """How many executions it has."""
    work: timedelta
    """How long they are thought to take."""

    @property
    def is_idle(self) -> bool:
        """Whether it would execute a run at once."""
        return self.busy < self.execution_slots

    def has_room(self) -> bool:
        """Whether it may be given one more: at once, next, or, where all are short, ahead."""
        if not self.free_slots or self.busy >= self.execution_slots + self.ahead_slots:
            return False
        return self.busy < self.execution_slots + LONG_AHEAD or self.work < SHORT_WORK

    def with_one_more(self, predicted: timedelta | None) -> "OpenRunner":
        """The runner once it was given a run."""
        return OpenRunner(
            runner_id=self.runner_id,
            dispatcher_id=self.dispatcher_id,
            epoch=self.epoch,
            execution_slots=self.execution_slots,
            ahead_slots=self.ahead_slots,
            free_slots=self.free_slots[1:],
            busy=self.busy + 1,
            work=self.work + (UNKNOWN_WORK if predicted is None else predicted),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """One run and the place that it is to have."""

    run: WaitingRun
    runner_id: str
    dispatcher_id: str
    epoch: int
    slot: int
    predicted: timedelta | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AheadRun:
    """A run that waits at a runner though it was not submitted yet."""

    run_id: str
    attempt: int
    class_id: str
    team_id: str
    runner_id: str
    dispatcher_id: str
    assigned_at: datetime


def place(
    waiting: Sequence[WaitingRun],
    runners: Sequence[OpenRunner],
    *,
    eligible: Callable[[str, str], Collection[str]],
    predict: Callable[[str], timedelta | None],
    most: int,
) -> list[Placement]:
    """Give each waiting run, in their order, the emptiest eligible runner with room; at most `most` of them.

    `eligible(class_id, team_id)`: ids of the runners that may serve it. Idle runners come before busy ones.
    """
    open_runners = {runner.runner_id: runner for runner in runners if runner.has_room()}
    placements: list[Placement] = []
    for run in sorted(waiting, key=lambda each: each.rank):
        if len(placements) >= most or not open_runners:
            break
        candidates = [open_runners[one] for one in eligible(run.class_id, run.team_id) if one in open_runners]
        if not candidates:
            continue
        chosen = min(candidates, key=lambda runner: (runner.busy >= runner.execution_slots, runner.work, runner.busy))
        predicted = predict(run.work_key)
        placements.append(
            Placement(
                run=run,
                runner_id=chosen.runner_id,
                dispatcher_id=chosen.dispatcher_id,
                epoch=chosen.epoch,
                slot=chosen.free_slots[0],
                predicted=predicted,
            )
        )
        after = chosen.with_one_more(predicted)
        if after.has_room():
            open_runners[chosen.runner_id] = after
        else:
            del open_runners[chosen.runner_id]
    return placements


def recalls(
    ahead: Sequence[AheadRun],
    idle: Sequence[OpenRunner],
    *,
    eligible: Callable[[str, str], Collection[str]],
) -> list[AheadRun]:
    """Runs to ask back, since they wait at a busy runner while another one that may serve them has nothing."""
    wanted: list[AheadRun] = []
    free = {runner.runner_id for runner in idle if runner.busy == 0}
    for run in sorted(ahead, key=lambda each: each.assigned_at):
        takers = sorted(free & set(eligible(run.class_id, run.team_id)))
        if takers:
            free.discard(takers[0])
            wanted.append(run)
    return wanted


def work_key(workflow_id: str | None, workflow_version: int, class_id: str) -> str:
    """What runs share whose durations are alike: their workflow version, or else their class."""
    return f"{workflow_id}@{workflow_version}" if workflow_id else class_id
