"""Reading runs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from services.common.errors import InvalidArgument, NotFound, Violation
from services.common.filtering import FieldKind, FilterField, Page, parse_listing
from services.common.sql import Database
from services.run.model.run import RunSnapshot
from services.run.model.state import RunState
from services.run.store.runs import snapshot_of, snapshots, snapshots_by_ids
from services.run.store.tables import RUN

MOST_IDS = 1000

FIELDS = {
    # Ids are UUIDv7: their order is that of creation, and has an index.
    "id": FilterField(kind=FieldKind.TEXT, column=RUN.c.id, orderable=True),
    "create_time": FilterField(kind=FieldKind.TIME, column=RUN.c.create_time, orderable=True),
    "end_time": FilterField(kind=FieldKind.TIME, column=RUN.c.finished_at, nullable=True),
    "state": FilterField(
        kind=FieldKind.CHOICE,
        column=RUN.c.state,
        choices={**{state.value: state.value for state in RunState}, **{f"RUN_STATE_{s}": s.value for s in RunState}},
    ),
    "workflow_id": FilterField(kind=FieldKind.TEXT, column=RUN.c.workflow_id, nullable=True),
    "workflow_version": FilterField(kind=FieldKind.INTEGER, column=RUN.c.workflow_version),
    "runner_id": FilterField(kind=FieldKind.TEXT, column=RUN.c.runner_id, nullable=True),
    "group": FilterField(kind=FieldKind.TEXT, column=RUN.c.group_name),
    "client_ref": FilterField(kind=FieldKind.TEXT, column=RUN.c.client_ref),
    "origin": FilterField(kind=FieldKind.TEXT, column=RUN.c.origin),
    "labels": FilterField(kind=FieldKind.MAP, column=RUN.c.labels),
}


class RunQuery:
    """The use cases that only read."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def get(self, run_id: str, *, team_id: str, full: bool = False) -> RunSnapshot:
        """One run of the team; NotFound RUN_NOT_FOUND."""
        found = await self._database.glance(
            lambda session: snapshot_of(session, run_id, team_id=team_id, with_spec=full)
        )
        if found is None:
            raise run_not_found()
        return found

    async def batch_get(self, run_ids: Sequence[str], *, team_id: str | None) -> tuple[list[RunSnapshot], list[str]]:
        """Those of the runs that exist, in the order asked for, and the ids of the others; None: of every team."""
        if len(run_ids) > MOST_IDS:
            raise InvalidArgument(violations=[Violation("run_ids", "TOO_MANY", f"Give at most {MOST_IDS} ids.")])
        asked = [run_id for run_id in dict.fromkeys(run_ids) if "\x00" not in run_id]
        found = await self._database.read(lambda session: snapshots_by_ids(session, asked, team_id=team_id))
        known = {snapshot.run.id for snapshot in found}
        return found, [run_id for run_id in dict.fromkeys(run_ids) if run_id not in known]

    async def list(
        self, *, team_id: str, page_size: int, page_token: str, filter_text: str, order_by: str
    ) -> Page[RunSnapshot]:
        """A page of the team's runs; InvalidArgument for a malformed filter, order or token."""
        listing = parse_listing(
            fields=FIELDS,
            page_size=page_size,
            page_token=page_token,
            filter_text=filter_text,
            order_by=_by_id(order_by),
            default_order="id desc",
            tie_breaker="id",
            scope=team_id,
        )
        statement = listing.apply(select(RUN).where(RUN.c.team_id == team_id))
        found = await self._database.read(lambda session: snapshots(session, statement))
        return listing.page(found, _position, size_bytes=_size)


def run_not_found() -> NotFound:
    """What a caller learns of a run that does not exist or is another team's."""
    return NotFound("There is no such run.", reason="RUN_NOT_FOUND")


def _by_id(order_by: str) -> str:
    """Order of creation is that of ids, to the millisecond and beyond, and only ids have an index."""
    words = order_by.split()
    return " ".join(["id", *words[1:]]) if words and words[0] == "create_time" else order_by


def _position(snapshot: RunSnapshot, name: str) -> Any:
    position: str | datetime = getattr(snapshot.run, name)
    return position


def _size(snapshot: RunSnapshot) -> int:
    run = snapshot.run
    error = 0 if run.error is None else sum(map(len, run.error.traceback))
    return 2000 + len(run.metadata_json) + error + 40 * len(run.input_file_ids) + 400 * len(snapshot.outputs)
