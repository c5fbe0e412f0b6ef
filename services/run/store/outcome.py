"""What reports make of an attempt: begun, outputs, ended. T2 of the hot path (EXECUTION D) is `record_end`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlmodel import Session

from services.common.sql import Prepared
from services.run.model.decision import Decision
from services.run.model.desire import UNKNOWN_WORK
from services.run.model.event import LoggedEvent, NewEvent, output_added, state_changed
from services.run.model.output import RunOutput, output_name
from services.run.model.report import Finish, Outcome, OutputReport
from services.run.model.run import Run
from services.run.model.state import RunState
from services.run.store.assignment import FREE_SLOT
from services.run.store.attempt import CurrentAttempt
from services.run.store.events import append_events
from services.run.store.tables import RUN_ATTEMPT, RUN_OUTPUT, RUN_PROGRESS, RUN_SECRET, RUNNER_SLOT
from services.run.store.tally import Tally
from services.run.store.transition import transition

_ATTEMPT = (RUN_ATTEMPT.c.run_id == bindparam("of_run"), RUN_ATTEMPT.c.attempt == bindparam("number"))
_SUBMITTED = Prepared(
    update(RUN_ATTEMPT).where(*_ATTEMPT, RUN_ATTEMPT.c.submitted_at.is_(None)).values(submitted_at=bindparam("moment"))
)
_OUTPUTS = Prepared(
    select(RUN_OUTPUT)
    .where(RUN_OUTPUT.c.run_id == bindparam("of_run"), RUN_OUTPUT.c.attempt == bindparam("number"))
    .order_by(RUN_OUTPUT.c.ordinal)
)
_INSERT_OUTPUT = Prepared(insert(RUN_OUTPUT))
_NO_SECRET = Prepared(delete(RUN_SECRET).where(RUN_SECRET.c.run_id == bindparam("of_run")))
_NO_PROGRESS = Prepared(delete(RUN_PROGRESS).where(RUN_PROGRESS.c.run_id == bindparam("of_run")))
_FREE_PLACE = Prepared(
    select(RUNNER_SLOT.c.slot)
    .where(RUNNER_SLOT.c.runner_id == bindparam("at_runner"), RUNNER_SLOT.c.run_id.is_(None))
    .order_by(RUNNER_SLOT.c.slot)
    .limit(1)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What was logged of one run, for those who announce it after the commit."""

    run: Run | None
    """The run, where its row was read anyway."""
    run_id: str
    events: Sequence[LoggedEvent]
    outputs: tuple[RunOutput, ...] = ()
    """All outputs of the attempt; only when the run ended."""


def record_submitted(session: Session, current: CurrentAttempt, *, now: datetime) -> None:
    """Note that the backend has it in its queue, or had: from now on it is lost if it is not found there."""
    _SUBMITTED.run(session, {"of_run": current.run_id, "number": current.attempt, "moment": now})


def record_begun(
    session: Session, current: CurrentAttempt, *, elapsed: timedelta, outputs: Sequence[OutputReport], now: datetime
) -> Recorded | None:
    """Note that it executes, if that is new, and its new outputs; None if there is nothing new."""
    new = _new_outputs(session, current, outputs)
    begins = current.state is RunState.DISPATCHED
    news = [state_changed(RunState.RUNNING, previous=RunState.DISPATCHED, attempt=current.attempt)] if begins else []
    news.extend(output_added(output) for output in new)
    if not news:
        return None
    run: Run | None = None
    if begins:
        started_at = now - elapsed
        run = transition(
            session,
            current.run_id,
            from_states=(RunState.DISPATCHED,),
            to=RunState.RUNNING,
            now=now,
            attempt=current.attempt,
            values={"started_at": started_at},
            events=len(news),
        )
        if run is None:
            return None
        _update_attempt(session, current, submitted_at=now, started_at=started_at)
    _insert_outputs(session, current, new)
    events = append_events(session, current.run_id, news, now=now, run=run)
    return Recorded(run=run, run_id=current.run_id, events=events)


def record_end(
    session: Session,
    tally: Tally,
    current: CurrentAttempt,
    decision: Decision,
    finish: Finish,
    *,
    outputs: Sequence[OutputReport] = (),
    class_id: str | None = None,
    now: datetime,
) -> Recorded | None:
    """End the attempt, and the run with it unless it is to be tried again; None if it had ended already.

    `class_id`: the class of the run from now on, where the end changed what it requires.
    """
    new = _new_outputs(session, current, outputs)
    news = _end_events(current, decision, finish, new)
    run = transition(
        session,
        current.run_id,
        from_states=(current.state,),
        to=decision.state,
        now=now,
        attempt=current.attempt,
        values=_end_values(current, decision, finish, class_id=class_id, now=now),
        events=len(news),
    )
    if run is None:
        return None
    _insert_outputs(session, current, new)
    events = append_events(session, current.run_id, news, now=now, run=run)
    _end_attempt(session, current, decision, finish, now=now)
    if not current.lapsed:
        FREE_SLOT.run(session, {"held": current.run_id})
        tally.touch(current.dispatcher_id)
    _charge(tally, current, decision, finish)
    made: tuple[RunOutput, ...] = ()
    if not decision.retries:
        _NO_SECRET.run(session, {"of_run": current.run_id})
        if current.state is RunState.RUNNING:
            _NO_PROGRESS.run(session, {"of_run": current.run_id})
        # The new ones are stored by now: they would come twice if they were added to the stored ones.
        made = stored_outputs(session, current) if current.outputs_count else tuple(new)
    return Recorded(run=run, run_id=current.run_id, events=events, outputs=made)


def record_found_again(
    session: Session, tally: Tally, current: CurrentAttempt, *, elapsed: timedelta, now: datetime
) -> Recorded | None:
    """A lapsed attempt is executing after all, and nobody else was given the run: it goes on (EXECUTION A5)."""
    place = _FREE_PLACE.first(session, {"at_runner": current.runner_id})
    if place is None:
        return None
    started_at = current.started_at or now - elapsed
    blamed = current.budget.blamed_attempts - current.lapse_blamed
    run = transition(
        session,
        current.run_id,
        from_states=(RunState.QUEUED,),
        to=RunState.RUNNING,
        now=now,
        attempt=current.attempt,
        values={"started_at": started_at, "blamed_attempts": max(blamed, 0)},
        events=1,
    )
    if run is None:
        return None
    session.connection().execute(
        update(RUNNER_SLOT)
        .where(RUNNER_SLOT.c.runner_id == current.runner_id, RUNNER_SLOT.c.slot == place.slot)
        .values(run_id=current.run_id, attempt=current.attempt, assigned_at=current.assigned_at, recalled=False)
    )
    _update_attempt(
        session,
        current,
        epoch=current.runner_epoch,
        submitted_at=now,
        started_at=started_at,
        ended_at=None,
        outcome=None,
        error=None,
    )
    tally.share(current.team_id, queued=-1, active=1, charge=_predicted(current))
    tally.touch(current.dispatcher_id)
    news = [state_changed(RunState.RUNNING, previous=RunState.QUEUED, attempt=current.attempt)]
    return Recorded(run=run, run_id=run.id, events=append_events(session, run.id, news, now=now, run=run))


def stored_outputs(session: Session, current: CurrentAttempt) -> tuple[RunOutput, ...]:
    """The outputs of the attempt that are recorded, in order."""
    values = {"of_run": current.run_id, "number": current.attempt}
    rows = _OUTPUTS.all(session, values)
    return tuple(RunOutput(**{name: getattr(row, name) for name in RunOutput.__slots__}) for row in rows)


def unrecorded(stored: Sequence[RunOutput], reports: Sequence[OutputReport]) -> list[OutputReport]:
    """The reported outputs whose place is not among `stored`, each place once, in the order in which they were found.

    By place and not by ordinal: a dispatcher that was started again finds outputs in another order than the one before
    it had told (EXECUTION C3).
    """
    places = {(one.node_id, one.key, one.position) for one in stored}
    found: list[OutputReport] = []
    for report in sorted(reports, key=lambda one: one.ordinal):
        if report.place not in places:
            places.add(report.place)
            found.append(report)
    return found


def _new_outputs(session: Session, current: CurrentAttempt, reports: Sequence[OutputReport]) -> list[RunOutput]:
    """The outputs that are not recorded yet, numbered after those that are, with their names."""
    if not reports:
        return []
    stored = stored_outputs(session, current) if current.outputs_count else ()
    taken = {one.name for one in stored}
    made: list[RunOutput] = []
    for report in unrecorded(stored, reports):
        name = output_name(keys=current.output_keys, node_id=report.node_id, file_name=report.file_name, taken=taken)
        taken.add(name)
        made.append(
            RunOutput(
                ordinal=current.outputs_count + len(made),
                name=name,
                node_id=report.node_id,
                key=report.key,
                position=report.position,
                file_id=report.file_id,
                sha256=report.sha256,
                size_bytes=report.size_bytes,
                media_type=report.media_type,
                file_name=report.file_name,
                kind=report.kind,
                cached=report.cached,
                attempt=current.attempt,
            )
        )
    return made


def _insert_outputs(session: Session, current: CurrentAttempt, outputs: Sequence[RunOutput]) -> None:
    if outputs:
        rows = [output.to_json() | {"run_id": current.run_id} for output in outputs]
        _INSERT_OUTPUT.run_each(session, rows)


def _began(current: CurrentAttempt, finish: Finish, outputs: Sequence[RunOutput]) -> bool:
    if current.state is RunState.RUNNING:
        return True
    return finish.outcome is Outcome.SUCCEEDED or finish.execution > timedelta() or bool(outputs)


def _end_events(
    current: CurrentAttempt, decision: Decision, finish: Finish, outputs: Sequence[RunOutput]
) -> list[NewEvent]:
    """What is logged at the end; the beginning too, where the run was too short for a report of its own."""
    news: list[NewEvent] = []
    before = current.state
    if before is not RunState.RUNNING and decision.state is not RunState.INVALID and _began(current, finish, outputs):
        news.append(state_changed(RunState.RUNNING, previous=before, attempt=current.attempt))
        before = RunState.RUNNING
    news.extend(output_added(output) for output in outputs)
    news.append(state_changed(decision.state, previous=before, attempt=current.attempt, error=decision.error))
    return news


def _end_values(
    current: CurrentAttempt, decision: Decision, finish: Finish, *, class_id: str | None, now: datetime
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if decision.blamed:
        values["blamed_attempts"] = current.budget.blamed_attempts + 1
    if class_id is not None:
        values["class_id"] = class_id
    if decision.retries:
        values["started_at"] = None
        return values
    if decision.error is not None:
        values["error"] = decision.error.to_json()
    if current.started_at is None and (finish.execution or finish.outcome is Outcome.SUCCEEDED):
        values["started_at"] = max(now - finish.execution, current.assigned_at)
    return values


def _end_attempt(
    session: Session, current: CurrentAttempt, decision: Decision, finish: Finish, *, now: datetime
) -> None:
    values: dict[str, Any] = {"ended_at": now, "outcome": finish.outcome.value}
    if decision.error is not None:
        values["error"] = decision.error.to_json()
    if finish.execution:
        values["execution_ms"] = round(finish.execution.total_seconds() * 1000)
        if current.started_at is None:
            values["started_at"] = max(now - finish.execution, current.assigned_at)
    _update_attempt(session, current, **values)


def _update_attempt(session: Session, current: CurrentAttempt, **values: Any) -> None:
    parameters = {f"new_{name}": value for name, value in values.items()}
    parameters |= {"of_run": current.run_id, "number": current.attempt}
    _attempt_update(tuple(values)).run(session, parameters)


@lru_cache(maxsize=64)
def _attempt_update(names: tuple[str, ...]) -> Prepared:
    """The UPDATE of one shape: to build it anew each time would cost more than to run it."""
    changes: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
    return Prepared(update(RUN_ATTEMPT).where(*_ATTEMPT).values(changes))


def _predicted(current: CurrentAttempt) -> timedelta:
    return UNKNOWN_WORK if current.predicted is None else current.predicted


def _charge(tally: Tally, current: CurrentAttempt, decision: Decision, finish: Finish) -> None:
    """Correct what the team was charged at the assignment; what was lost, or handed back, costs it nothing."""
    waits = 1 if decision.retries else 0
    if current.lapsed:
        tally.share(current.team_id, queued=waits - 1, charge=finish.execution)
        return
    measured = finish.execution if decision.blamed or decision.state is RunState.SUCCEEDED else timedelta()
    if finish.outcome in (Outcome.LOST, Outcome.LAPSED):
        measured = timedelta()
    tally.share(current.team_id, queued=waits, active=-1, charge=measured - _predicted(current))
