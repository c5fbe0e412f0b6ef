"""The current attempt of a run, as reports of it are held against it: only (run, attempt, epoch, runner) that are
the current ones count (EXECUTION A2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlmodel import Session

from services.common.sql import Prepared
from services.run.model.decision import Budget
from services.run.model.placement import work_key
from services.run.model.report import Outcome
from services.run.model.state import RunState
from services.run.store.tables import RUN, RUN_ATTEMPT, RUN_OUTPUT, RUN_SPEC, RUNNER


@dataclass(frozen=True, kw_only=True, slots=True)
class CurrentAttempt:
    """A run's current attempt, with what decides about its end."""

    run_id: str
    attempt: int
    team_id: str
    class_id: str
    work_key: str
    state: RunState
    runner_id: str
    dispatcher_id: str
    budget: Budget
    assigned_at: datetime
    started_at: datetime | None
    predicted: timedelta | None
    outputs_count: int
    output_keys: Mapping[str, str]
    lapsed: bool
    """Nobody confirmed it for a lease: the run waits, and a report of this attempt still counts (EXECUTION A5)."""
    lapse_blamed: bool
    """Whether that lapse counted against the run."""
    runner_epoch: int

    @property
    def is_active(self) -> bool:
        """Whether it stands in a slot."""
        return self.state in (RunState.DISPATCHED, RunState.RUNNING)


_OUTPUTS = (
    select(func.count())
    .where(RUN_OUTPUT.c.run_id == RUN.c.id, RUN_OUTPUT.c.attempt == RUN.c.attempt)
    .correlate(RUN)
    .scalar_subquery()
)
_CURRENT = (
    select(
        RUN.c.id,
        RUN.c.attempt,
        RUN.c.team_id,
        RUN.c.class_id,
        RUN.c.state,
        RUN.c.blamed_attempts,
        RUN.c.max_attempts,
        RUN.c.retry_on_lost,
        RUN.c.cancel_requested_at,
        RUN.c.workflow_id,
        RUN.c.workflow_version,
        RUN_ATTEMPT.c.runner_id,
        RUN_ATTEMPT.c.epoch,
        RUN_ATTEMPT.c.assigned_at,
        RUN_ATTEMPT.c.submitted_at,
        RUN_ATTEMPT.c.started_at,
        RUN_ATTEMPT.c.ended_at,
        RUN_ATTEMPT.c.outcome,
        RUN_ATTEMPT.c.predicted_ms,
        RUN_SPEC.c.output_keys,
        RUNNER.c.dispatcher_id,
        RUNNER.c.epoch.label("runner_epoch"),
        _OUTPUTS.label("outputs_count"),
    )
    .join(RUN_ATTEMPT, (RUN_ATTEMPT.c.run_id == RUN.c.id) & (RUN_ATTEMPT.c.attempt == RUN.c.attempt))
    .join(RUN_SPEC, RUN_SPEC.c.run_id == RUN.c.id)
    .join(RUNNER, RUNNER.c.id == RUN_ATTEMPT.c.runner_id)
    .where(RUN.c.id == bindparam("of_run"))
)
_BY_RUN = Prepared(_CURRENT)
_REPORTED = Prepared(
    _CURRENT.where(
        RUN.c.attempt == bindparam("number"),
        RUN_ATTEMPT.c.runner_id == bindparam("at_runner"),
        RUN_ATTEMPT.c.epoch == bindparam("under"),
        RUNNER.c.dispatcher_id == bindparam("by_dispatcher"),
    )
)


def current_attempt(session: Session, run_id: str) -> CurrentAttempt | None:
    """The run's current attempt if it stands in a slot, else None."""
    row = _BY_RUN.first(session, {"of_run": run_id})
    found = None if row is None else _attempt(row)
    return found if found is not None and found.is_active else None


def reported_attempt(
    session: Session, *, dispatcher_id: str, run_id: str, attempt: int, runner_id: str, epoch: int
) -> CurrentAttempt | None:
    """The attempt that a dispatcher may report of: the current one, active or lapsed; None if it is another's now."""
    values = {
        "of_run": run_id,
        "number": attempt,
        "at_runner": runner_id,
        "under": epoch,
        "by_dispatcher": dispatcher_id,
    }
    row = _REPORTED.first(session, values)
    found = None if row is None else _attempt(row)
    return found if found is not None and (found.is_active or found.lapsed) else None


def _attempt(row: Any) -> CurrentAttempt:
    state = RunState(row.state)
    lapsed = state is RunState.QUEUED and row.outcome == Outcome.LAPSED.value
    submitted, began = row.submitted_at is not None, row.started_at is not None
    return CurrentAttempt(
        run_id=row.id,
        attempt=row.attempt,
        team_id=row.team_id,
        class_id=row.class_id,
        work_key=work_key(row.workflow_id, row.workflow_version, row.class_id),
        state=state,
        runner_id=row.runner_id,
        dispatcher_id=row.dispatcher_id,
        budget=Budget(
            cancel_requested=row.cancel_requested_at is not None,
            blamed_attempts=row.blamed_attempts,
            max_attempts=row.max_attempts,
            retry_on_lost=row.retry_on_lost,
            submitted=submitted,
            began=began,
        ),
        assigned_at=row.assigned_at,
        started_at=row.started_at,
        predicted=_span(row.predicted_ms),
        outputs_count=row.outputs_count,
        output_keys=row.output_keys,
        lapsed=lapsed,
        lapse_blamed=lapsed and (submitted or began),
        runner_epoch=row.runner_epoch,
    )


def _span(milliseconds: Any) -> timedelta | None:
    return None if milliseconds is None else timedelta(milliseconds=milliseconds)
