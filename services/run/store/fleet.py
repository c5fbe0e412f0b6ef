"""Dispatchers and their runners: sessions, grants, leases, and what runners say of themselves (EXECUTION A1–A6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, bindparam, delete, insert, select, update
from sqlmodel import Session

from services.common.errors import Aborted
from services.common.ids import new_id
from services.common.sql import Prepared
from services.run.model.report import RunnerReport, StateReport
from services.run.model.runner import MAX_AHEAD_SLOTS, Owner, RunnerHealth
from services.run.store.tables import DISPATCHER, ROOM_EVENT, RUN_ATTEMPT, RUNNER, RUNNER_SLOT

RUNNER_CHANGED = "RUNNER_CHANGED"
CATALOGUE_SEEN = "CATALOGUE_SEEN"
PAST_SESSIONS = 8
MAX_EXECUTION_SLOTS = 64

_DISPATCHER = select(DISPATCHER).where(DISPATCHER.c.id == bindparam("dispatcher"))
_STREAM = Prepared(
    select(DISPATCHER.c.session_id, DISPATCHER.c.replica).where(DISPATCHER.c.id == bindparam("dispatcher"))
)
_RENEW = (
    update(DISPATCHER)
    .where(DISPATCHER.c.id == bindparam("dispatcher"), DISPATCHER.c.session_id == bindparam("under_session"))
    .values(lease_expires_at=bindparam("until"), last_seen_at=bindparam("moment"))
)
_LEAVE = (
    update(DISPATCHER)
    .where(
        DISPATCHER.c.id == bindparam("dispatcher"),
        DISPATCHER.c.session_id == bindparam("under_session"),
        DISPATCHER.c.replica == bindparam("held_by"),
    )
    .values(replica="")
)
_RUNNERS = select(RUNNER).where(RUNNER.c.dispatcher_id == bindparam("dispatcher"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A session that was opened."""

    dispatcher_id: str
    granted: bool
    """Whether its runners were granted anew, under a higher epoch."""
    changed_runner_ids: tuple[str, ...]


def superseded() -> Aborted:
    """The error of a stream whose dispatcher has a newer session."""
    return Aborted("A newer session of this dispatcher is open; this one ends.", reason="SUPERSEDED")


def open_session(
    session: Session, owner: Owner, report: StateReport, *, stream: str, lease: timedelta, now: datetime
) -> Opened:
    """Make this the dispatcher's session, and grant it the runners that it reports.

    `stream`: id of the stream, and so of the replica, that holds it now. Aborted SUPERSEDED if a newer session was
    seen before. The same session coming again keeps its epochs, unless its lease was over.
    """
    dispatcher_id = owner.key_of(report.dispatcher_id)
    connection = session.connection()
    row = connection.execute(_DISPATCHER, {"dispatcher": dispatcher_id}).mappings().first()
    values: dict[str, Any] = {
        "credential_id": owner.credential_id,
        "session_id": report.session_id,
        "replica": stream,
        "lease_expires_at": now + lease,
        "draining": report.draining,
        "software": report.software,
        "last_seen_at": now,
    }
    if row is None:
        first = {"id": dispatcher_id, "name": report.dispatcher_id, "team_id": owner.team_id}
        connection.execute(insert(DISPATCHER), values | first | {"past_session_ids": [], "version": 1})
        granted = True
    else:
        past = list(row["past_session_ids"])
        if report.session_id in past:
            raise superseded()
        granted = row["session_id"] != report.session_id
        if granted and row["session_id"]:
            values["past_session_ids"] = [*past, row["session_id"]][-PAST_SESSIONS:]
        values["version"] = row["version"] + 1
        connection.execute(update(DISPATCHER).where(DISPATCHER.c.id == dispatcher_id).values(values))
    changed = update_runners(session, dispatcher_id, owner, report.runners, now=now)
    if granted:
        _grant(session, dispatcher_id, [runner.local_key for runner in report.runners])
    return Opened(dispatcher_id=dispatcher_id, granted=granted, changed_runner_ids=changed)


def session_of(session: Session, dispatcher_id: str) -> tuple[str, str]:
    """The dispatcher's session and the stream that holds it; empty after a lapse."""
    (row,) = _STREAM.all(session, {"dispatcher": dispatcher_id})
    return row.session_id, row.replica


def renew_lease(session: Session, dispatcher_id: str, session_id: str, *, lease: timedelta, now: datetime) -> bool:
    """Renew the lease on all runners of the dispatcher; False if that session is not its session any more."""
    values = {"dispatcher": dispatcher_id, "under_session": session_id, "until": now + lease, "moment": now}
    return session.connection().execute(_RENEW, values).rowcount == 1


def leave(session: Session, dispatcher_id: str, session_id: str, *, stream: str) -> None:
    """The stream is gone: its runners get no new work until another comes. What they have, they keep."""
    values = {"dispatcher": dispatcher_id, "under_session": session_id, "held_by": stream}
    session.connection().execute(_LEAVE, values)


def set_draining(session: Session, dispatcher_id: str, *, draining: bool) -> None:
    """Note whether the dispatcher wants new work."""
    session.connection().execute(update(DISPATCHER).where(DISPATCHER.c.id == dispatcher_id).values(draining=draining))


def update_runners(
    session: Session, dispatcher_id: str, owner: Owner, reports: Sequence[RunnerReport], *, now: datetime
) -> tuple[str, ...]:
    """Write what runners say of themselves, new ones too; the ids of those whose health or abilities are others now."""
    rows = session.connection().execute(_RUNNERS, {"dispatcher": dispatcher_id}).mappings()
    known = {row["local_key"]: row for row in rows}
    changed: list[str] = []
    for report in reports:
        row = known.pop(report.local_key, None)
        runner_id, is_news = _write_runner(session, dispatcher_id, owner, report, row, now=now)
        if is_news:
            changed.append(runner_id)
            _tell_changed(session, runner_id, report.capabilities_hash, owner.team_id, now=now)
    for row in known.values():  # the dispatcher has it no more
        if row["health"] != RunnerHealth.OFFLINE.value:
            gone = {"health": RunnerHealth.OFFLINE.value, "health_reason": "Its dispatcher has it no more."}
            session.connection().execute(update(RUNNER).where(RUNNER.c.id == row["id"]).values(gone | {"ready": False}))
            changed.append(row["id"])
            _tell_changed(session, row["id"], row["capabilities_hash"], owner.team_id, now=now)
    return tuple(changed)


def add_room_event(session: Session, type: str, body: dict[str, Any], *, team_id: str | None, now: datetime) -> None:  # noqa: A002 # the column's name
    """Put a fact of the room into its outbox."""
    values = {"id": new_id(), "team_id": team_id, "type": type, "body": body, "at": now, "published_at": None}
    session.connection().execute(insert(ROOM_EVENT), values)


def _tell_changed(session: Session, runner_id: str, hash_: str, team_id: str | None, *, now: datetime) -> None:
    body = {"runner_id": runner_id, "catalogue_hash": hash_}
    add_room_event(session, RUNNER_CHANGED, body, team_id=team_id, now=now)


def _write_runner(
    session: Session,
    dispatcher_id: str,
    owner: Owner,
    report: RunnerReport,
    row: RowMapping | None,
    *,
    now: datetime,
) -> tuple[str, bool]:
    """The runner's id, and whether there is something to tell."""
    connection = session.connection()
    values = _runner_values(owner, report) | {"last_seen_at": now}
    if row is not None:
        runner_id: str = row["id"]
        if row["backend_incarnation"] != report.backend_incarnation or (
            row["capabilities_hash"] != report.capabilities_hash
        ):
            values["missing_capabilities"] = []  # it is another backend now: what it lacked, it may have
        connection.execute(update(RUNNER).where(RUNNER.c.id == runner_id).values(values))
        slots_before = row["execution_slots"] + row["ahead_slots"]
        told = ("health", "capabilities_hash", "tags", "scope", "runtime")
        is_news = any(row[name] != values[name] for name in told)
    else:
        runner_id, slots_before, is_news = new_id(), 0, True
        first = {"id": runner_id, "team_id": owner.team_id, "local_key": report.local_key, "create_time": now}
        fixed = {"dispatcher_id": dispatcher_id, "epoch": 0, "enabled": True, "draining": False, "failures": 0}
        connection.execute(insert(RUNNER), values | first | fixed | {"missing_capabilities": []})
    _fit_slots(session, runner_id, values["execution_slots"], values["ahead_slots"], before=slots_before)
    return runner_id, is_news


def _runner_values(owner: Owner, report: RunnerReport) -> dict[str, Any]:
    healthy = report.health is RunnerHealth.HEALTHY
    return {
        "scope": owner.scope(community=report.community).value,
        "runtime": report.runtime,
        "tags": list(report.tags),
        "region": report.region,
        "health": report.health.value,
        "health_reason": report.health_reason,
        "recovered": report.recovered,
        "ready": healthy and report.recovered and not report.foreign_prompts and not report.reaping_prompt_ids,
        "capabilities_hash": report.capabilities_hash,
        "backend_incarnation": report.backend_incarnation,
        "backend_version": report.backend_version,
        "devices": [device.to_json() for device in report.devices],
        "foreign_prompts": report.foreign_prompts,
        "reaping_prompt_ids": list(report.reaping_prompt_ids),
        "warm_keys": list(report.warm_keys),
        "execution_slots": min(max(report.execution_slots, 1), MAX_EXECUTION_SLOTS),
        "ahead_slots": min(max(report.ahead_slots, 0), MAX_AHEAD_SLOTS),
    }


def _fit_slots(session: Session, runner_id: str, executing: int, ahead: int, *, before: int) -> None:
    connection, after = session.connection(), executing + ahead
    if after > before:
        free = {"runner_id": runner_id, "run_id": None, "attempt": 0, "assigned_at": None, "recalled": False}
        have = set(connection.execute(select(RUNNER_SLOT.c.slot).where(RUNNER_SLOT.c.runner_id == runner_id)).scalars())
        rows = [free | {"slot": slot, "ahead": slot >= executing} for slot in range(after) if slot not in have]
        if rows:
            connection.execute(insert(RUNNER_SLOT), rows)
    elif after < before:
        # An occupied place beyond the new number stays until it is free; room is judged by numbers, not by places.
        surplus = (
            RUNNER_SLOT.c.runner_id == runner_id,
            RUNNER_SLOT.c.slot >= after,
            RUNNER_SLOT.c.run_id.is_(None),
        )
        connection.execute(delete(RUNNER_SLOT).where(*surplus))


def _grant(session: Session, dispatcher_id: str, local_keys: Sequence[str]) -> None:
    """Raise the epochs of these runners; what stands in their slots is adopted by the new session."""
    connection = session.connection()
    mine = (RUNNER.c.dispatcher_id == dispatcher_id, RUNNER.c.local_key.in_(list(local_keys)))
    granted = connection.execute(
        update(RUNNER).where(*mine).values(epoch=RUNNER.c.epoch + 1).returning(RUNNER.c.id, RUNNER.c.epoch)
    )
    for runner_id, epoch in granted.all():
        held = (
            select(RUNNER_SLOT.c.run_id)
            .where(
                RUNNER_SLOT.c.runner_id == runner_id,
                RUNNER_SLOT.c.run_id == RUN_ATTEMPT.c.run_id,
                RUNNER_SLOT.c.attempt == RUN_ATTEMPT.c.attempt,
            )
            .exists()
        )
        connection.execute(update(RUN_ATTEMPT).where(RUN_ATTEMPT.c.runner_id == runner_id, held).values(epoch=epoch))
