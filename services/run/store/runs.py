"""Reading and making runs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, bindparam, insert, select
from sqlmodel import Session

from services.common.sql import Prepared
from services.run.model.output import RunOutput
from services.run.model.progress import RunProgress
from services.run.model.run import Run, RunInput, RunSnapshot, RunSpec
from services.run.model.state import ACTIVE_STATES
from services.run.store.run_row import row_of, run_of
from services.run.store.tables import RUN, RUN_OUTPUT, RUN_PROGRESS, RUN_SPEC

_BY_ID = select(RUN).where(RUN.c.id == bindparam("of_run"))
_INSERT_RUN = Prepared(insert(RUN))
_INSERT_SPEC = Prepared(insert(RUN_SPEC))
_ONE = Prepared(_BY_ID)
_ONE_OF_TEAM = Prepared(_BY_ID.where(RUN.c.team_id == bindparam("of_team")))
_OUTPUTS = Prepared(
    select(RUN_OUTPUT)
    .where(RUN_OUTPUT.c.run_id == bindparam("of_run"), RUN_OUTPUT.c.attempt == bindparam("of_attempt"))
    .order_by(RUN_OUTPUT.c.ordinal)
)
_PROGRESS = Prepared(select(RUN_PROGRESS.c.body).where(RUN_PROGRESS.c.run_id == bindparam("of_run")))
_SPEC = Prepared(select(RUN_SPEC).where(RUN_SPEC.c.run_id == bindparam("of_run")))


def insert_run(session: Session, run: Run, spec: RunSpec) -> None:
    """Write a new run; its event is the caller's to append."""
    _INSERT_RUN.run(session, row_of(run))
    _INSERT_SPEC.run(session, _spec_row(spec))


def run_by_id(session: Session, run_id: str, *, team_id: str | None = None) -> Run | None:
    """One run, of that team if one is named."""
    if team_id is None:
        row = _ONE.first(session, {"of_run": run_id})
    else:
        row = _ONE_OF_TEAM.first(session, {"of_run": run_id, "of_team": team_id})
    return None if row is None else run_of(row._asdict())


def spec_of(session: Session, run_id: str) -> RunSpec | None:
    """What a run executes."""
    row = _SPEC.first(session, {"of_run": run_id})
    return None if row is None else _spec_of(row._asdict())


def snapshot_of(
    session: Session, run_id: str, *, team_id: str | None = None, with_spec: bool = False
) -> RunSnapshot | None:
    """One run with its outputs and progress."""
    run = run_by_id(session, run_id, team_id=team_id)
    if run is None:
        return None
    return RunSnapshot(
        run=run,
        outputs=outputs_of(session, run.id, run.attempt),
        progress=_progress_of(session, run),
        spec=spec_of(session, run.id) if with_spec else None,
    )


def outputs_of(session: Session, run_id: str, attempt: int) -> tuple[RunOutput, ...]:
    """The outputs of one attempt, by ordinal."""
    if attempt == 0:
        return ()
    rows = _OUTPUTS.all(session, {"of_run": run_id, "of_attempt": attempt})
    return tuple(_output_of(row._asdict()) for row in rows)


def snapshots_by_ids(session: Session, run_ids: Sequence[str], *, team_id: str | None) -> list[RunSnapshot]:
    """Those of the runs that exist (in that team), in the order asked for."""
    condition: list[ColumnElement[bool]] = [RUN.c.id.in_(run_ids)]
    if team_id is not None:
        condition.append(RUN.c.team_id == team_id)
    found = {snapshot.run.id: snapshot for snapshot in snapshots(session, select(RUN).where(*condition))}
    return [found[run_id] for run_id in dict.fromkeys(run_ids) if run_id in found]


def snapshots(session: Session, query: Select[Any]) -> list[RunSnapshot]:
    """The runs that `query` (whole rows of `run`) finds, in its order, with outputs; without progress."""
    runs = [run_of(dict(row)) for row in session.connection().execute(query).mappings()]
    outputs = _outputs_of_many(session, {run.id: run.attempt for run in runs if run.attempt})
    return [RunSnapshot(run=run, outputs=tuple(outputs.get(run.id, ()))) for run in runs]


def _outputs_of_many(session: Session, attempts: Mapping[str, int]) -> dict[str, list[RunOutput]]:
    outputs: dict[str, list[RunOutput]] = {}
    for row in _output_rows(session, attempts):
        if row["attempt"] == attempts[row["run_id"]]:
            outputs.setdefault(row["run_id"], []).append(_output_of(dict(row)))
    return outputs


def _output_rows(session: Session, run_ids: Collection[str]) -> Sequence[RowMapping]:
    if not run_ids:
        return ()
    query = select(RUN_OUTPUT).where(RUN_OUTPUT.c.run_id.in_(list(run_ids))).order_by(RUN_OUTPUT.c.ordinal)
    return session.connection().execute(query).mappings().all()


def _progress_of(session: Session, run: Run) -> RunProgress | None:
    if run.state not in ACTIVE_STATES:
        return None
    row = _PROGRESS.first(session, {"of_run": run.id})
    progress = None if row is None else RunProgress.from_json(row.body)
    return progress if progress is not None and progress.attempt == run.attempt else None


def _output_of(values: dict[str, Any]) -> RunOutput:
    del values["run_id"]
    return RunOutput(**values)


def _spec_row(spec: RunSpec) -> dict[str, Any]:
    values = {name: getattr(spec, name) for name in RunSpec.__slots__}
    values["inputs"] = [asdict(one) for one in spec.inputs]
    values["output_keys"] = dict(spec.output_keys)
    return values


def _spec_of(values: dict[str, Any]) -> RunSpec:
    values["inputs"] = tuple(RunInput(**one) for one in values["inputs"])
    return RunSpec(**values)
