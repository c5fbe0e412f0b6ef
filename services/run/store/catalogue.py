"""Node catalogues under their hashes, and runners as callers see them."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, RowMapping, or_, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import Session

from services.run.model.runner import Device, Owner, Runner, RunnerHealth, RunnerScope
from services.run.store.fleet import CATALOGUE_SEEN, add_room_event
from services.run.store.tables import CATALOGUE, DISPATCHER, RUN, RUNNER, RUNNER_SLOT


def may_upload(session: Session, owner: Owner, catalogue_hash: str) -> bool:
    """Whether a runner of that owner has reported the hash."""
    mine = RUNNER.c.team_id == owner.team_id if owner.team_id else RUNNER.c.team_id.is_(None)
    found = select(RUNNER.c.id).where(mine, RUNNER.c.capabilities_hash == catalogue_hash).limit(1)
    return session.connection().execute(found).first() is not None


def has_catalogue(session: Session, catalogue_hash: str) -> bool:
    """Whether the catalogue is here."""
    found = select(CATALOGUE.c.hash).where(CATALOGUE.c.hash == catalogue_hash)
    return session.connection().execute(found).first() is not None


def insert_catalogue(
    session: Session,
    catalogue_hash: str,
    body: bytes,
    *,
    node_classes: Sequence[str],
    model_names: Sequence[str],
    owner: Owner,
    now: datetime,
) -> None:
    """Keep a catalogue (gzipped), and tell other rooms; nothing if it is here already."""
    values = {
        "hash": catalogue_hash,
        "body": body,
        "node_classes": list(node_classes),
        "model_names": list(model_names),
        "create_time": now,
    }
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    statement = (sqlite_insert if is_sqlite else postgres_insert)(CATALOGUE).on_conflict_do_nothing()
    if session.connection().execute(statement.returning(CATALOGUE.c.hash), values).first() is None:
        return
    add_room_event(session, CATALOGUE_SEEN, {"catalogue_hash": catalogue_hash}, team_id=owner.team_id, now=now)


def catalogue_body(session: Session, catalogue_hash: str, *, team_id: str | None) -> bytes | None:
    """The gzipped catalogue, if a runner that may serve the team (None: any) has reported it."""
    seen = select(RUNNER.c.id).where(RUNNER.c.capabilities_hash == catalogue_hash, *_serving(team_id)).exists()
    found = select(CATALOGUE.c.body).where(CATALOGUE.c.hash == catalogue_hash, seen)
    body: bytes | None = session.connection().execute(found).scalar()
    return body


def list_runners(session: Session, *, team_id: str | None, after: str, limit: int) -> list[Runner]:
    """Runners that may serve the team (None: all), oldest first, behind the id `after`."""
    query = (
        select(RUNNER, DISPATCHER.c.name.label("dispatcher_name"))
        .join(DISPATCHER, DISPATCHER.c.id == RUNNER.c.dispatcher_id)
        .where(RUNNER.c.id > after, *_serving(team_id))
        .order_by(RUNNER.c.id)
        .limit(limit)
    )
    return _runners(session, session.connection().execute(query).mappings().all(), team_id=team_id)


def runner_by_id(session: Session, runner_id: str, *, team_id: str | None) -> Runner | None:
    """One runner, if it may serve the team (None: any)."""
    query = (
        select(RUNNER, DISPATCHER.c.name.label("dispatcher_name"))
        .join(DISPATCHER, DISPATCHER.c.id == RUNNER.c.dispatcher_id)
        .where(RUNNER.c.id == runner_id, *_serving(team_id))
    )
    found = _runners(session, session.connection().execute(query).mappings().all(), team_id=team_id)
    return found[0] if found else None


def _serving(team_id: str | None) -> list[ColumnElement[bool]]:
    if team_id is None:
        return []
    return [or_(RUNNER.c.team_id.is_(None), RUNNER.c.team_id == team_id)]


def _runners(session: Session, rows: Sequence[RowMapping], *, team_id: str | None) -> list[Runner]:
    """The records, each with the runs of the team alone: a fleet runner has others' too."""
    ids = [row["id"] for row in rows]
    held: dict[str, list[str]] = {}
    if ids:
        slots = (
            select(RUNNER_SLOT.c.runner_id, RUNNER_SLOT.c.run_id)
            .join(RUN, RUN.c.id == RUNNER_SLOT.c.run_id)
            .where(RUNNER_SLOT.c.runner_id.in_(ids), *([] if team_id is None else [RUN.c.team_id == team_id]))
            .order_by(RUNNER_SLOT.c.assigned_at)
        )
        for runner_id, run_id in session.connection().execute(slots):
            held.setdefault(runner_id, []).append(run_id)
    return [_runner(row, tuple(held.get(row["id"], ()))) for row in rows]


def _runner(row: RowMapping, run_ids: tuple[str, ...]) -> Runner:
    return Runner(
        id=row["id"],
        team_id=row["team_id"],
        scope=RunnerScope(row["scope"]),
        local_key=row["local_key"],
        dispatcher_name=row["dispatcher_name"],
        runtime=row["runtime"],
        tags=tuple(row["tags"]),
        region=row["region"],
        health=RunnerHealth(row["health"]),
        health_reason=row["health_reason"],
        enabled=row["enabled"],
        draining=row["draining"],
        capabilities_hash=row["capabilities_hash"],
        devices=tuple(Device.from_json(one) for one in row["devices"]),
        run_ids=run_ids,
        last_seen_at=row["last_seen_at"],
        create_time=row["create_time"],
        backend_version=row["backend_version"],
        foreign_prompts=row["foreign_prompts"],
    )
