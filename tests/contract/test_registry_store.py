"""The registry's rows, on SQLite and PostgreSQL."""

import asyncio
import gzip
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.common.errors import Aborted, AlreadyExists
from services.common.filtering import Page
from services.common.ids import RandomIds, new_id
from services.common.json_bytes import canonical_json
from services.common.parameters import Default, OutputDefinition, Parameter, ParameterTarget, ParameterType
from services.common.sql import Database
from services.registry.model.fact import FactType, Occasion
from services.registry.model.reference import parse_reference
from services.registry.model.request import NewWorkflow, WorkflowChange
from services.registry.model.workflow import Workflow
from services.registry.store import (
    BaseMoved,
    CatalogueStore,
    FactStore,
    VersionContent,
    WorkflowListings,
    WorkflowStore,
)
from services.registry.store.tables import tables
from tests.servers.databases import Databases
from tests.servers.migrations import check_migrations

START = datetime(2026, 1, 1, tzinfo=UTC)
TEAM, OTHER = "01920000-0000-7000-8000-00000000000a", "01920000-0000-7000-8000-00000000000b"
SEED = Parameter(
    key="seed",
    type=ParameterType.INTEGER,
    minimum=0,
    maximum=2**64 - 1,
    default=Default(value=2**64 - 1),
    targets=(ParameterTarget(node_id="1", input="seed"),),
)


@pytest.fixture
def room() -> str:
    return "registry"


def _content(seed: int = 1, note: str = "") -> VersionContent:
    graph: Any = {"1": {"class_type": "A", "inputs": {"seed": seed}}}
    return VersionContent(
        graph=canonical_json(graph),
        parameters=(SEED,),
        outputs=(OutputDefinition(key="out", node_id="1"),),
        parameters_discovered=True,
        node_classes=("A",),
        content_hash=f"hash {seed}",
        note=note,
    )


def _new(slug: str = "cat", request_id: str = "", **more: Any) -> NewWorkflow:
    wanted: dict[str, Any] = {
        "slug": slug,
        "display_name": "Cat",
        "description": "",
        "tags": (),
        "graph": b"{}",
        "parameters": (),
        "outputs": (),
        "no_discovery": False,
        "note": "",
        "request_id": request_id,
        **more,
    }
    return NewWorkflow(**wanted)


def _change(**more: Any) -> WorkflowChange:
    wanted: dict[str, Any] = {
        "workflow": "cat",
        "display_name": None,
        "description": None,
        "tags": None,
        "graph": None,
        "parameters": None,
        "outputs": None,
        "note": "",
        "expected_version": None,
        "request_id": "",
        **more,
    }
    return WorkflowChange(**wanted)


class Rows:
    """The stores of one database, and time that passes by the second."""

    def __init__(self, database: Database) -> None:
        self.workflows = WorkflowStore(database=database, ids=RandomIds())
        self.listings = WorkflowListings(database=database)
        self.facts = FactStore(database=database)
        self.catalogues = CatalogueStore(database=database)
        self.now = START

    def occasion(self) -> Occasion:
        self.now += timedelta(seconds=1)
        return Occasion(time=self.now, request_id="req")

    async def create(self, new: NewWorkflow, team_id: str = TEAM, content: VersionContent | None = None) -> Workflow:
        return await self.workflows.create(
            team_id=team_id, team_name="red", new=new, content=content or _content(), occasion=self.occasion()
        )

    async def change(self, base: Workflow, change: WorkflowChange, content: VersionContent | None = None) -> Workflow:
        return await self.workflows.change(base=base, change=change, content=content, occasion=self.occasion())

    async def find(self, reference: str, team_id: str = TEAM, *, with_graph: bool = False) -> Workflow | None:
        return await self.workflows.find(team_id, parse_reference(reference), with_graph=with_graph)

    async def page(self, **more: Any) -> Page[Workflow]:
        wanted: dict[str, Any] = {"page_size": 0, "page_token": "", "filter_text": "", "order_by": "", **more}
        return await self.listings.workflows(TEAM, **wanted)


@pytest.fixture
def rows(database: Database) -> Rows:
    return Rows(database)


def test_migrations_go_up_and_down(databases: Databases) -> None:
    check_migrations(databases.empty("registry"), "registry", tables.metadata)


async def test_a_workflow_is_read_back_exactly(rows: Rows) -> None:
    made = await rows.create(_new(tags=("a", "b"), description="d"), content=_content(2**64 - 1, "first"))
    found = await rows.find("cat", with_graph=True)
    assert found is not None
    assert found.version.graph == b'{"1":{"class_type":"A","inputs":{"seed":18446744073709551615}}}'
    assert found.version.parameters == (SEED,)
    assert found.version.outputs == (OutputDefinition(key="out", node_id="1"),)
    assert (found.tags, found.description, found.version.note) == (("a", "b"), "d", "first")
    assert (found.create_time, found.update_time) == (rows.now, rows.now)
    assert made.version.graph is None
    assert await rows.find("cat") == made


async def test_a_workflow_is_found_by_every_reference_of_its_team_only(rows: Rows) -> None:
    made = await rows.create(_new())
    for reference in (made.id, "cat", "red/cat", f"{made.id}@1", "cat@1", "red/cat@1"):
        found = await rows.find(reference)
        assert found is not None
        assert found.id == made.id
    for reference in ("cat@2", "dog", "blue/cat", new_id()):
        assert await rows.find(reference) is None
    for reference in (made.id, "cat", "red/cat"):
        assert await rows.find(reference, OTHER) is None


async def test_versions_grow_by_one_and_never_change(rows: Rows) -> None:
    base = await rows.create(_new())
    second = await rows.change(base, _change(), _content(2, "second"))
    third = await rows.change(second, _change(display_name="Dog"), _content(3))
    assert (third.latest_version, third.version.number, third.display_name) == (3, 3, "Dog")
    first = await rows.find("cat@1", with_graph=True)
    assert first is not None
    assert first.version.graph == _content(1).graph
    assert first.latest_version == 3
    page = await rows.listings.versions(third, page_size=2, page_token="")
    assert [version.number for version in page.rows] == [3, 2]
    page = await rows.listings.versions(third, page_size=2, page_token=page.next_page_token)
    assert [version.number for version in page.rows] == [1]
    assert page.next_page_token == ""


async def test_a_change_in_place_adds_no_version_and_no_change_no_time(rows: Rows) -> None:
    base = await rows.create(_new())
    changed = await rows.change(base, _change(description="new", tags=("x",)))
    assert (changed.latest_version, changed.description, changed.tags) == (1, "new", ("x",))
    assert changed.update_time > base.update_time
    same = await rows.change(changed, _change(description="new"))
    assert same == changed


async def test_a_change_upon_an_old_version_is_refused(rows: Rows) -> None:
    base = await rows.create(_new())
    await rows.change(base, _change(), _content(2))
    with pytest.raises(BaseMoved):
        await rows.change(base, _change(), _content(3))
    with pytest.raises(Aborted) as refused:
        await rows.change(base, _change(expected_version=1), _content(3))
    assert refused.value.metadata == {"latest_version": "2"}


async def test_of_changes_at_once_one_wins(rows: Rows) -> None:
    base = await rows.create(_new())
    outcomes = await asyncio.gather(
        *(rows.change(base, _change(), _content(n)) for n in range(2, 8)), return_exceptions=True
    )
    assert sum(isinstance(outcome, Workflow) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, BaseMoved) for outcome in outcomes) == 5


async def test_a_slug_is_taken_once_per_team(rows: Rows) -> None:
    await rows.create(_new())
    with pytest.raises(AlreadyExists) as refused:
        await rows.create(_new())
    assert refused.value.reason == "SLUG_TAKEN"
    assert (await rows.create(_new(), team_id=OTHER)).slug == "cat"


async def test_a_slug_is_made_from_the_name(rows: Rows) -> None:
    names = ["My  Càt!", "my cat", "My-Cat", "猫", "runs"]
    slugs = [(await rows.create(_new("", display_name=name))).slug for name in names]
    assert slugs[:3] == ["my-cat", "my-cat-2", "my-cat-3"]
    assert all(slug.startswith("workflow-") for slug in slugs[3:])


async def test_creates_of_one_slug_at_once_make_one_workflow(rows: Rows) -> None:
    outcomes = await asyncio.gather(*(rows.create(_new()) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(outcome, Workflow) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, AlreadyExists) for outcome in outcomes) == 7


async def test_one_request_makes_one_workflow(rows: Rows) -> None:
    outcomes = await asyncio.gather(*(rows.create(_new(request_id="r")) for _ in range(8)))
    assert len({workflow.id for workflow in outcomes}) == 1
    assert len((await rows.page()).rows) == 1
    with pytest.raises(AlreadyExists) as refused:
        await rows.create(_new("dog", "r"))
    assert refused.value.reason == "REQUEST_ID_REUSED"
    assert (await rows.create(_new(request_id="r"), team_id=OTHER)).team_id == OTHER


async def test_a_repeated_change_gives_the_first_answer(rows: Rows) -> None:
    base = await rows.create(_new())
    change = _change(request_id="r")
    second = await rows.change(base, change, _content(2))
    await rows.change(second, _change(), _content(3))
    assert (await rows.change(base, change, _content(2))).version == second.version
    assert await rows.workflows.replayed(TEAM, "r", change.hash()) is not None
    with pytest.raises(AlreadyExists):
        await rows.workflows.replayed(TEAM, "r", _change(note="other").hash())


async def test_a_deleted_workflow_is_gone_and_its_slug_stays_taken(rows: Rows) -> None:
    made = await rows.create(_new(request_id="r"))
    reference = parse_reference("cat")
    assert not await rows.workflows.delete(OTHER, reference, occasion=rows.occasion())
    assert await rows.workflows.delete(TEAM, reference, occasion=rows.occasion())
    assert await rows.workflows.delete(TEAM, parse_reference(made.id), occasion=rows.occasion())
    assert await rows.find("cat") is None
    assert (await rows.page()).rows == ()
    with pytest.raises(AlreadyExists):
        await rows.create(_new())
    assert (await rows.create(_new(request_id="r"))).deleted


async def test_facts_are_written_with_the_change_and_leave_when_published(rows: Rows) -> None:
    base = await rows.create(_new())
    await rows.change(base, _change(description="no fact"))
    await rows.change(base, _change(), _content(2))
    for _ in range(2):
        await rows.workflows.delete(TEAM, parse_reference("cat"), occasion=rows.occasion())
    facts = await rows.facts.unpublished(10)
    assert [(fact.type, fact.version) for fact in facts] == [
        (FactType.WORKFLOW_VERSION_CREATED, 1),
        (FactType.WORKFLOW_VERSION_CREATED, 2),
        (FactType.WORKFLOW_DELETED, 0),
    ]
    assert {(fact.team_id, fact.workflow_id, fact.slug, fact.request_id) for fact in facts} == {
        (TEAM, base.id, "cat", "req")
    }
    await rows.facts.remove([facts[0].id, facts[1].id])
    assert [fact.id for fact in await rows.facts.unpublished(10)] == [facts[2].id]


async def test_lists_are_filtered_ordered_and_of_one_team(rows: Rows) -> None:
    for n in range(5):
        await rows.create(_new(f"w{n}", tags=("even",) if n % 2 == 0 else ()))
    await rows.create(_new("other"), team_id=OTHER)
    assert [w.slug for w in (await rows.page()).rows] == ["w4", "w3", "w2", "w1", "w0"]
    assert [w.slug for w in (await rows.page(order_by="slug", filter_text="tags:even")).rows] == ["w0", "w2", "w4"]
    assert [w.slug for w in (await rows.page(filter_text='slug = "w1" OR slug = w3')).rows] == ["w3", "w1"]
    limit = (START + timedelta(seconds=2)).isoformat()
    assert [w.slug for w in (await rows.page(filter_text=f'create_time <= "{limit}"')).rows] == ["w1", "w0"]
    seen, token = [], ""
    while True:
        page = await rows.page(page_size=2, page_token=token)
        seen += [w.slug for w in page.rows]
        if not (token := page.next_page_token):
            break
    assert seen == ["w4", "w3", "w2", "w1", "w0"]


async def test_a_page_stays_below_what_clients_take(rows: Rows) -> None:
    long = Parameter(key="text", type=ParameterType.STRING, description="x" * 900_000)
    content = VersionContent(**{**vars(_content()), "parameters": (long,)})
    for n in range(5):
        await rows.create(_new(f"w{n}"), content=content)
    first = await rows.page()
    assert [w.slug for w in first.rows] == ["w4", "w3"]
    assert [w.slug for w in (await rows.page(page_token=first.next_page_token)).rows] == ["w2", "w1"]


async def test_catalogues_are_kept_once_and_the_oldest_go(rows: Rows) -> None:
    body = gzip.compress(b"x" * 100)
    await asyncio.gather(*(rows.catalogues.add("h", body, now=START) for _ in range(4)))
    assert await rows.catalogues.body("h") == body
    assert await rows.catalogues.body("none") is None
    for n in range(100):
        await rows.catalogues.add(f"h{n}", b"{}", now=START + timedelta(seconds=n + 1))
    assert await rows.catalogues.body("h") is None
    assert await rows.catalogues.body("h0") == b"{}"
