"""Workflows: reads, and the transactions that make, change and delete them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from services.common.errors import Aborted, AlreadyExists
from services.common.ids import Ids
from services.common.parameters import OutputDefinition, Parameter
from services.common.sql import Database
from services.registry.model.fact import FactType, Occasion
from services.registry.model.reference import WorkflowReference
from services.registry.model.request import NewWorkflow, WorkflowChange
from services.registry.model.slug import MAX_CHARACTERS, slug_of
from services.registry.model.workflow import Workflow
from services.registry.store.facts import add_fact
from services.registry.store.rows import packed_outputs, packed_parameters, version_of, workflow_of
from services.registry.store.tables import WORKFLOW, WORKFLOW_GRAPH, WORKFLOW_REQUEST, WORKFLOW_VERSION

T = TypeVar("T")
_MOST_SUFFIXES = 100


@dataclass(frozen=True, kw_only=True)
class VersionContent:
    """What a new version holds."""

    graph: bytes
    """Canonical JSON."""
    parameters: tuple[Parameter, ...]
    outputs: tuple[OutputDefinition, ...]
    parameters_discovered: bool
    node_classes: tuple[str, ...]
    content_hash: str
    note: str


class BaseMoved(Exception):
    """The version that a change was made upon is not the newest any more: read again."""


class WorkflowStore:
    """Workflows of all teams; every method takes the team whose they are."""

    def __init__(self, *, database: Database, ids: Ids) -> None:
        self._database = database
        self._ids = ids

    async def find(self, team_id: str, reference: WorkflowReference, *, with_graph: bool = False) -> Workflow | None:
        """The workflow with the version meant, None if there is none, or it is deleted or another team's."""

        def unit(session: Session) -> Workflow | None:
            row = _row(session, team_id, reference)
            if row is None or row["delete_time"] is not None:
                return None
            return _with_version(session, row, reference.version or row["latest_version"], with_graph=with_graph)

        return await self._database.read(unit)

    async def create(
        self, *, team_id: str, team_name: str, new: NewWorkflow, content: VersionContent, occasion: Occasion
    ) -> Workflow:
        """Make a workflow with its first version, or give again what the same request made.

        AlreadyExists REQUEST_ID_REUSED or SLUG_TAKEN; a slug made from the name gets a number where it is taken.
        """
        workflow_id = self._ids.new_id()

        def unit(session: Session) -> Workflow:
            replayed = _replayed(session, team_id, new.request_id, new.hash())
            if replayed is not None:
                return replayed
            slug = new.slug or _free_slug(session, team_id, new.display_name, workflow_id)
            if new.slug and _slug_taken(session, team_id, slug):
                raise AlreadyExists(
                    "The team has a workflow of this slug; give another.", reason="SLUG_TAKEN", metadata={"slug": slug}
                )
            session.connection().execute(
                insert(WORKFLOW).values(
                    id=workflow_id,
                    team_id=team_id,
                    team_name=team_name,
                    slug=slug,
                    display_name=new.display_name,
                    description=new.description,
                    tags=list(new.tags),
                    create_time=occasion.time,
                    update_time=occasion.time,
                    latest_version=1,
                )
            )
            self._add_version(session, team_id, workflow_id, slug, 1, content, occasion)
            _remember(session, team_id, new.request_id, new.hash(), workflow_id, 1, occasion)
            return _whole(session, workflow_id, 1)

        return await self._write(unit)

    async def replayed(self, team_id: str, request_id: str, request_hash: str) -> Workflow | None:
        """What the same request gave, None if there was none; AlreadyExists if another had this id."""
        return await self._database.glance(lambda session: _replayed(session, team_id, request_id, request_hash))

    async def change(
        self, *, base: Workflow, change: WorkflowChange, content: VersionContent | None, occasion: Occasion
    ) -> Workflow:
        """Change a workflow whose newest version is still that of `base`; `content` None adds no version.

        Aborted VERSION_CONFLICT if the caller expected another version, `BaseMoved` if only we did. `base` may be
        deleted meanwhile: then the change is made to the deleted workflow, as if it had come before.
        """

        def unit(session: Session) -> Workflow:
            replayed = _replayed(session, base.team_id, change.request_id, change.hash())
            if replayed is not None:
                return replayed
            query = select(WORKFLOW).where(WORKFLOW.c.id == base.id).with_for_update()
            row = session.connection().execute(query).mappings().one()
            latest: int = row["latest_version"]
            if change.expected_version is not None and change.expected_version != latest:
                raise Aborted(
                    f"The newest version is {latest}; read it and decide.",
                    reason="VERSION_CONFLICT",
                    metadata={"latest_version": str(latest)},
                )
            if latest != base.latest_version:
                raise BaseMoved
            values: dict[str, Any] = {**_changed(row, change)}
            if content is not None:
                latest += 1
                values["latest_version"] = latest
                self._add_version(session, base.team_id, base.id, base.slug, latest, content, occasion)
            if values:
                values["update_time"] = occasion.time
                session.connection().execute(update(WORKFLOW).where(WORKFLOW.c.id == base.id).values(values))
            _remember(session, base.team_id, change.request_id, change.hash(), base.id, latest, occasion)
            return _whole(session, base.id, latest)

        return await self._write(unit)

    async def delete(self, team_id: str, reference: WorkflowReference, *, occasion: Occasion) -> bool:
        """Mark it deleted; whether there is such a workflow, deleted before or not."""

        def unit(session: Session) -> bool:
            row = _row(session, team_id, reference)
            if row is None:
                return False
            statement = (
                update(WORKFLOW)
                .where(WORKFLOW.c.id == row["id"], WORKFLOW.c.delete_time.is_(None))
                .values(delete_time=occasion.time, update_time=occasion.time)
                .returning(WORKFLOW.c.id)
            )
            if session.connection().execute(statement).first() is not None:
                add_fact(
                    session, FactType.WORKFLOW_DELETED, ids=self._ids, team_id=team_id, workflow_id=row["id"],
                    slug=row["slug"], occasion=occasion,
                )  # fmt: skip
            return True

        return await self._database.write(unit)

    async def _write(self, unit: Callable[[Session], T]) -> T:
        """A unit that looks before it inserts: of two at once one may fail on PostgreSQL, then sees the other's."""
        try:
            return await self._database.write(unit)
        except IntegrityError:
            return await self._database.write(unit)

    def _add_version(
        self, session: Session, team_id: str, workflow_id: str, slug: str, number: int, content: VersionContent,
        occasion: Occasion,
    ) -> None:  # fmt: skip
        session.connection().execute(
            insert(WORKFLOW_VERSION).values(
                workflow_id=workflow_id,
                number=number,
                create_time=occasion.time,
                note=content.note,
                content_hash=content.content_hash,
                parameters=packed_parameters(content.parameters),
                outputs=packed_outputs(content.outputs),
                parameters_discovered=content.parameters_discovered,
                node_classes=list(content.node_classes),
            )
        )
        session.connection().execute(
            insert(WORKFLOW_GRAPH).values(workflow_id=workflow_id, number=number, graph=content.graph)
        )
        add_fact(
            session, FactType.WORKFLOW_VERSION_CREATED, ids=self._ids, team_id=team_id, workflow_id=workflow_id,
            slug=slug, version=number, occasion=occasion,
        )  # fmt: skip


def _row(session: Session, team_id: str, reference: WorkflowReference) -> RowMapping | None:
    """The workflow meant, deleted or not."""
    query = select(WORKFLOW).where(WORKFLOW.c.team_id == team_id)
    query = query.where(
        WORKFLOW.c.id == reference.id if reference.id is not None else WORKFLOW.c.slug == reference.slug
    )
    row = session.connection().execute(query).mappings().one_or_none()
    if row is not None and reference.team not in (None, row["team_id"], row["team_name"]):
        return None
    return row


def _with_version(session: Session, row: RowMapping, number: int, *, with_graph: bool) -> Workflow | None:
    condition = (WORKFLOW_VERSION.c.workflow_id == row["id"], WORKFLOW_VERSION.c.number == number)
    version = session.connection().execute(select(WORKFLOW_VERSION).where(*condition)).mappings().one_or_none()
    if version is None:
        return None
    graph: bytes | None = None
    if with_graph:
        place = (WORKFLOW_GRAPH.c.workflow_id == row["id"], WORKFLOW_GRAPH.c.number == number)
        graph = session.connection().execute(select(WORKFLOW_GRAPH.c.graph).where(*place)).scalar_one()
    return workflow_of(row, version_of(version, graph))


def _whole(session: Session, workflow_id: str, number: int) -> Workflow:
    row = session.connection().execute(select(WORKFLOW).where(WORKFLOW.c.id == workflow_id)).mappings().one()
    workflow = _with_version(session, row, number, with_graph=False)
    assert workflow is not None
    return workflow


def _replayed(session: Session, team_id: str, request_id: str, request_hash: str) -> Workflow | None:
    if not request_id:
        return None
    key = (WORKFLOW_REQUEST.c.team_id == team_id, WORKFLOW_REQUEST.c.request_id == request_id)
    row = session.connection().execute(select(WORKFLOW_REQUEST).where(*key)).mappings().one_or_none()
    if row is None:
        return None
    if row["request_hash"] != request_hash:
        raise AlreadyExists(
            "Another request had this request_id; give a new one.",
            reason="REQUEST_ID_REUSED",
            metadata={"request_id": request_id},
        )
    return _whole(session, row["workflow_id"], row["version"])


def _remember(
    session: Session, team_id: str, request_id: str, request_hash: str, workflow_id: str, version: int,
    occasion: Occasion,
) -> None:  # fmt: skip
    if request_id:
        session.connection().execute(
            insert(WORKFLOW_REQUEST).values(
                team_id=team_id,
                request_id=request_id,
                request_hash=request_hash,
                workflow_id=workflow_id,
                version=version,
                create_time=occasion.time,
            )
        )


def _slug_taken(session: Session, team_id: str, slug: str) -> bool:
    query = select(WORKFLOW.c.id).where(WORKFLOW.c.team_id == team_id, WORKFLOW.c.slug == slug)
    return session.connection().execute(query).first() is not None


def _free_slug(session: Session, team_id: str, display_name: str, workflow_id: str) -> str:
    """A slug made from the name, with a number where it is taken; from the id where the name gives none."""
    wished = slug_of(display_name)
    if wished and not _slug_taken(session, team_id, wished):
        return wished
    for number in range(2, _MOST_SUFFIXES) if wished else ():
        suffix = f"-{number}"
        slug = wished[: MAX_CHARACTERS - len(suffix)].rstrip("-") + suffix
        if not _slug_taken(session, team_id, slug):
            return slug
    return f"workflow-{workflow_id.replace('-', '')[-12:]}"


def _changed(row: RowMapping, change: WorkflowChange) -> dict[str, Any]:
    wanted = {
        "display_name": change.display_name,
        "description": change.description,
        "tags": None if change.tags is None else list(change.tags),
    }
    return {name: value for name, value in wanted.items() if value is not None and value != row[name]}
