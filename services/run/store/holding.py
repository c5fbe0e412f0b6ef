"""What a dispatcher holds, read at one moment, and the specs of its executions (EXECUTION A3)."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import bindparam, func, select
from sqlmodel import Session

from services.common.sql import Prepared
from services.run.model.desire import HeldExecution, HeldRunner, Holding
from services.run.model.run import RunInput, RunSpec
from services.run.model.state import RunState
from services.run.store.tables import (
    CATALOGUE,
    DISPATCHER,
    RUN,
    RUN_ATTEMPT,
    RUN_OUTPUT,
    RUN_SPEC,
    RUNNER,
    RUNNER_SLOT,
)

_DISPATCHER = Prepared(
    select(DISPATCHER.c.version, DISPATCHER.c.session_id).where(DISPATCHER.c.id == bindparam("dispatcher"))
)
_RUNNERS = Prepared(
    select(
        RUNNER.c.id,
        RUNNER.c.local_key,
        RUNNER.c.epoch,
        RUNNER.c.enabled,
        RUNNER.c.draining,
        RUNNER.c.execution_slots,
    )
    .where(RUNNER.c.dispatcher_id == bindparam("dispatcher"))
    .order_by(RUNNER.c.id)
)
_EXECUTIONS = Prepared(
    select(
        RUN.c.id,
        RUN.c.attempt,
        RUN.c.team_id,
        RUN.c.state,
        RUN.c.cancel_requested_at,
        RUN.c.started_at,
        RUN.c.timeout_ms,
        RUN_ATTEMPT.c.runner_id,
        RUN_ATTEMPT.c.epoch,
        RUN_ATTEMPT.c.submitted_at,
        RUN_ATTEMPT.c.predicted_ms,
        RUNNER_SLOT.c.assigned_at,
        RUNNER_SLOT.c.recalled,
        select(func.count())
        .where(RUN_OUTPUT.c.run_id == RUN.c.id, RUN_OUTPUT.c.attempt == RUN.c.attempt)
        .correlate(RUN)
        .scalar_subquery()
        .label("outputs_count"),
    )
    .select_from(RUNNER)
    .join(RUNNER_SLOT, RUNNER_SLOT.c.runner_id == RUNNER.c.id)
    .join(RUN, RUN.c.id == RUNNER_SLOT.c.run_id)
    .join(RUN_ATTEMPT, (RUN_ATTEMPT.c.run_id == RUN.c.id) & (RUN_ATTEMPT.c.attempt == RUN.c.attempt))
    .where(RUNNER.c.dispatcher_id == bindparam("dispatcher"))
)
_WANTED = Prepared(
    select(RUNNER.c.capabilities_hash)
    .distinct()
    .where(
        RUNNER.c.dispatcher_id == bindparam("dispatcher"),
        RUNNER.c.capabilities_hash != "",
        ~select(CATALOGUE.c.hash).where(CATALOGUE.c.hash == RUNNER.c.capabilities_hash).exists(),
    )
    .order_by(RUNNER.c.capabilities_hash)
)
_SPEC = Prepared(select(RUN_SPEC).where(RUN_SPEC.c.run_id == bindparam("of_run")))


def read_holding(session: Session, dispatcher_id: str, *, catalogues: bool, now: datetime) -> Holding:
    """All that the dispatcher holds. `catalogues`: whether to look for catalogues that nobody has uploaded.

    The version is read first: inside of a transaction that has changed it, nothing can change beside it any more.
    """
    values = {"dispatcher": dispatcher_id}
    (dispatcher,) = _DISPATCHER.all(session, values)
    runners = tuple(
        HeldRunner(
            runner_id=row.id,
            local_key=row.local_key,
            epoch=row.epoch,
            enabled=row.enabled,
            draining=row.draining,
            execution_slots=row.execution_slots,
        )
        for row in _RUNNERS.all(session, values)
    )
    executions = tuple(
        HeldExecution(
            run_id=row.id,
            attempt=row.attempt,
            runner_id=row.runner_id,
            epoch=row.epoch,
            team_id=row.team_id,
            state=RunState(row.state),
            assigned_at=row.assigned_at,
            cancel_requested=row.cancel_requested_at is not None,
            recalled=row.recalled,
            submitted=row.submitted_at is not None,
            started_at=row.started_at,
            timeout=timedelta(milliseconds=row.timeout_ms),
            predicted=None if row.predicted_ms is None else timedelta(milliseconds=row.predicted_ms),
            outputs_count=row.outputs_count,
        )
        for row in _EXECUTIONS.all(session, values)
    )
    wanted = tuple(row.capabilities_hash for row in _WANTED.all(session, values)) if catalogues else ()
    return Holding(
        version=dispatcher.version,
        session_id=dispatcher.session_id,
        read_at=now,
        runners=runners,
        executions=executions,
        wanted_catalogues=wanted,
    )


def read_specs(session: Session, run_ids: Collection[str]) -> dict[str, RunSpec]:
    """What those runs execute, by run."""
    rows = [row for run_id in sorted(run_ids) for row in _SPEC.all(session, {"of_run": run_id})]
    return {
        row.run_id: RunSpec(
            run_id=row.run_id,
            graph_json=row.graph_json,
            parameters_json=row.parameters_json,
            overrides_json=row.overrides_json,
            extra_data_json=row.extra_data_json,
            inputs=tuple(RunInput(**one) for one in row.inputs),
            output_keys=row.output_keys,
            warm_key=row.warm_key,
        )
        for row in rows
    }
