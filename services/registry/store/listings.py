"""Lists of workflows and of versions, page by page.

A page is limited by its size as well, so that no answer passes what clients take by default: which rows fit is decided
by their lengths before their definitions are read.
"""

from typing import Any

from sqlalchemy import RowMapping, func, select, tuple_
from sqlmodel import Session

from services.common.filtering import FieldKind, FilterField, Page, parse_listing
from services.common.sql import Database
from services.registry.model.workflow import Workflow, WorkflowVersion
from services.registry.store.rows import version_of, workflow_of
from services.registry.store.tables import WORKFLOW, WORKFLOW_VERSION

_ROW_BYTES = 1024
"""What a row weighs beside its long texts, roughly."""

WORKFLOW_FIELDS = {
    "id": FilterField(kind=FieldKind.TEXT, column=WORKFLOW.c.id, orderable=True),
    "slug": FilterField(kind=FieldKind.TEXT, column=WORKFLOW.c.slug, orderable=True),
    "display_name": FilterField(kind=FieldKind.TEXT, column=WORKFLOW.c.display_name),
    "tags": FilterField(kind=FieldKind.LIST, column=WORKFLOW.c.tags),
    "create_time": FilterField(kind=FieldKind.TIME, column=WORKFLOW.c.create_time, orderable=True),
    "update_time": FilterField(kind=FieldKind.TIME, column=WORKFLOW.c.update_time, orderable=True),
}
_VERSION_FIELDS = {"number": FilterField(kind=FieldKind.INTEGER, column=WORKFLOW_VERSION.c.number, orderable=True)}

_DEFINITION_BYTES = (
    func.length(WORKFLOW_VERSION.c.parameters) + func.length(WORKFLOW_VERSION.c.outputs) + _ROW_BYTES
).label("definition_bytes")


class WorkflowListings:
    """Lists of one team."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def workflows(
        self, team_id: str, *, page_size: int, page_token: str, filter_text: str, order_by: str
    ) -> Page[Workflow]:
        """Workflows that are not deleted, with their newest versions; InvalidArgument for a bad question."""
        listing = parse_listing(
            fields=WORKFLOW_FIELDS,
            page_size=page_size,
            page_token=page_token,
            filter_text=filter_text,
            order_by=order_by,
            default_order="create_time desc",
            tie_breaker="id",
            scope=f"workflows {team_id}",
        )
        newest = (WORKFLOW_VERSION.c.workflow_id == WORKFLOW.c.id) & (
            WORKFLOW_VERSION.c.number == WORKFLOW.c.latest_version
        )
        statement = listing.apply(
            select(WORKFLOW, _DEFINITION_BYTES)
            .join(WORKFLOW_VERSION, newest)
            .where(WORKFLOW.c.team_id == team_id, WORKFLOW.c.delete_time.is_(None))
        )

        def unit(session: Session) -> Page[Workflow]:
            rows = session.connection().execute(statement).mappings().all()
            page = listing.page(
                rows, _value, size_bytes=lambda row: row["definition_bytes"] + 4 * len(row["description"])
            )
            versions = _versions(session, [(row["id"], row["latest_version"]) for row in page.rows])
            return Page(
                rows=tuple(workflow_of(row, versions[row["id"], row["latest_version"]]) for row in page.rows),
                next_page_token=page.next_page_token,
            )

        return await self._database.read(unit)

    async def versions(self, workflow: Workflow, *, page_size: int, page_token: str) -> Page[WorkflowVersion]:
        """The versions of one workflow, newest first."""
        listing = parse_listing(
            fields=_VERSION_FIELDS,
            page_size=page_size,
            page_token=page_token,
            default_order="number desc",
            tie_breaker="number",
            scope=f"versions {workflow.id}",
        )
        statement = listing.apply(
            select(WORKFLOW_VERSION.c.number, _DEFINITION_BYTES).where(WORKFLOW_VERSION.c.workflow_id == workflow.id)
        )

        def unit(session: Session) -> Page[WorkflowVersion]:
            rows = session.connection().execute(statement).mappings().all()
            page = listing.page(rows, _value, size_bytes=lambda row: row["definition_bytes"])
            versions = _versions(session, [(workflow.id, row["number"]) for row in page.rows])
            return Page(
                rows=tuple(versions[workflow.id, row["number"]] for row in page.rows),
                next_page_token=page.next_page_token,
            )

        return await self._database.read(unit)


def _value(row: RowMapping, name: str) -> Any:
    return row[name]


def _versions(session: Session, keys: list[tuple[str, int]]) -> dict[tuple[str, int], WorkflowVersion]:
    found: dict[tuple[str, int], WorkflowVersion] = {}
    place = tuple_(WORKFLOW_VERSION.c.workflow_id, WORKFLOW_VERSION.c.number)
    for start in range(0, len(keys), 200):  # few enough bound values for any SQLite
        query = select(WORKFLOW_VERSION).where(place.in_(keys[start : start + 200]))
        for row in session.connection().execute(query).mappings():
            found[row["workflow_id"], row["number"]] = version_of(row)
    return found
