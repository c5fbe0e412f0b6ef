"""RegistryService over a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from comfyfleet.events.v1 import event_pb2
from comfyfleet.registry.v1 import workflow_pb2 as pb

from services.common.background import background
from services.common.errors import Aborted, AlreadyExists, InvalidArgument, NotFound, PermissionDenied
from services.common.events.consumer import run_consumer
from services.common.events.nats import Nats
from services.common.ids import new_id
from services.common.rpc.metadata import REQUEST_ID, for_team
from services.common.sql import Database
from tests.rpc.registry_rig import BLUE, RED, SERVICE_SECRET, Registry, open_registry, until
from tests.servers.databases import Databases

MAX = 2**64 - 1
GRAPH: dict[str, Any] = {
    "1": {"class_type": "Sampler", "inputs": {"seed": MAX, "steps": 20}, "_meta": {"title": "My Sampler"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
CATALOGUE = {
    "Sampler": {
        "input": {"required": {"seed": ["INT", {"min": 0, "max": MAX}], "steps": ["INT", {"min": 1, "max": 50}]}}
    },
    "SaveImage": {"input": {"required": {"filename_prefix": ["STRING"]}}, "output_node": True},
}
SEED = pb.Parameter(
    key="seed",
    type=pb.PARAMETER_TYPE_INTEGER,
    default_json=b"18446744073709551615",
    maximum_json=b"18446744073709551615",
    targets=[pb.ParameterTarget(node_id="1", input="seed")],
)


@pytest.fixture(params=["sqlite"])
def databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """One kind is enough here: the contract suite runs the rows on both."""
    return Databases(folder=tmp_path_factory.mktemp("databases"), postgres=None)


@pytest.fixture
def room() -> str:
    return "registry"


@pytest_asyncio.fixture
async def registry(database: Database) -> AsyncIterator[Registry]:
    async with open_registry(database=database) as opened:
        yield opened


def _reasons(error: Exception) -> dict[str, str]:
    assert isinstance(error, InvalidArgument)
    return {violation.field: violation.reason for violation in error.violations}


async def test_a_graph_comes_back_canonical_and_bit_exact(registry: Registry) -> None:
    made = await registry.create(GRAPH, tags=["a"], description="d", note="n", parameters=[SEED])
    assert (made.team_id, made.team_name, made.slug, made.latest_version) == (RED, "red", "cat", 1)
    assert made.version.graph_json == b""
    full = (await registry.call("GetWorkflow", workflow="red/cat@1", view=pb.WORKFLOW_VIEW_FULL)).workflow
    assert full.version.graph_json == json.dumps(GRAPH, sort_keys=True, separators=(",", ":")).encode()
    assert b"18446744073709551615" in full.version.graph_json
    assert list(full.version.parameters) == [SEED]
    assert not full.version.parameters_discovered
    assert list(full.version.node_classes) == ["Sampler", "SaveImage"]
    basic = (await registry.call("GetWorkflow", workflow=made.id)).workflow
    assert basic == made


async def test_parameters_are_discovered_with_the_fleets_catalogue(registry: Registry) -> None:
    hash_ = registry.runners.attach(CATALOGUE)
    found = await registry.call("DiscoverParameters", graph_json=json.dumps(GRAPH).encode())
    assert found.catalogue_hash == hash_
    assert [(p.key, p.minimum_json, p.maximum_json, p.typed_by_catalogue) for p in found.parameters] == [
        ("my-sampler.seed", b"0", b"18446744073709551615", True),
        ("my-sampler.steps", b"1", b"50", True),
        ("saveimage.filename_prefix", b"", b"", True),
    ]
    assert [(o.key, o.node_id) for o in found.outputs] == [("saveimage", "2")]
    made = await registry.create(GRAPH)
    assert made.version.parameters_discovered
    assert list(made.version.parameters) == list(found.parameters)
    assert list(made.version.outputs) == []
    assert (await registry.call("ListWorkflows")).workflows[0] == made


async def test_what_discovery_gave_may_be_given_back(registry: Registry) -> None:
    registry.runners.attach(CATALOGUE)
    found = await registry.call("DiscoverParameters", graph_json=json.dumps(GRAPH).encode())
    made = await registry.create(GRAPH, parameters=found.parameters, outputs=found.outputs)
    assert list(made.version.parameters) == list(found.parameters)
    assert list(made.version.outputs) == list(found.outputs)


async def test_only_runners_that_may_serve_the_team_type_its_graphs(registry: Registry) -> None:
    registry.runners.attach(CATALOGUE, team_id=BLUE)
    graph_json = json.dumps(GRAPH).encode()
    mine = await registry.call("DiscoverParameters", graph_json=graph_json)
    assert mine.catalogue_hash == ""
    assert not any(parameter.typed_by_catalogue for parameter in mine.parameters)
    theirs = await registry.call("DiscoverParameters", graph_json=graph_json, key="sk-blue")
    assert theirs.catalogue_hash != ""


async def test_the_catalogue_that_knows_most_of_the_graph_is_taken(registry: Registry) -> None:
    registry.runners.attach({"Other": {}})
    registry.runners.attach({"Other": {}})
    hash_ = registry.runners.attach(CATALOGUE, healthy=False)
    found = await registry.call("DiscoverParameters", graph_json=json.dumps(GRAPH).encode())
    assert found.catalogue_hash == hash_


async def test_discovery_answers_while_the_run_room_is_away(registry: Registry) -> None:
    registry.runners.away = True
    found = await registry.call("DiscoverParameters", graph_json=json.dumps(GRAPH).encode())
    assert (found.catalogue_hash, len(found.parameters)) == ("", 3)


async def test_a_catalogue_is_asked_for_once_and_outlives_the_registry(database: Database) -> None:
    async with open_registry(database=database, catalogue_ttl=timedelta(hours=1)) as registry:
        registry.runners.attach(CATALOGUE)
        for _ in range(3):
            await registry.call("DiscoverParameters", graph_json=json.dumps(GRAPH).encode())
        assert (registry.runners.listed, registry.runners.read) == (1, 1)
    async with open_registry(database=database) as registry:
        registry.runners.attach(CATALOGUE)
        found = await registry.call("DiscoverParameters", graph_json=json.dumps(GRAPH).encode())
        assert found.catalogue_hash != ""
        assert registry.runners.read == 0


async def test_a_damaged_catalogue_is_not_believed(registry: Registry) -> None:
    hash_ = registry.runners.attach(CATALOGUE)
    registry.runners.catalogues[hash_] = b"{}"
    found = await registry.call("DiscoverParameters", graph_json=json.dumps(GRAPH).encode())
    assert found.catalogue_hash == ""


async def test_every_violation_of_a_new_workflow_is_named_at_once(registry: Registry) -> None:
    error = await registry.refusal(
        "CreateWorkflow",
        slug="No Slug",
        display_name="x" * 201,
        tags=["ok", "\x00"],
        note="x" * 1001,
        request_id="x" * 129,
        graph_json=b'{"1": {"class_type": "A", "inputs": {"x": ["9", 0]}}}',
    )
    assert _reasons(error) == {
        "slug": "BAD_SLUG",
        "display_name": "BAD_LENGTH",
        "tags[1]": "BAD_STRING",
        "note": "BAD_LENGTH",
        "request_id": "BAD_LENGTH",
        "graph_json.1.inputs.x": "UNKNOWN_LINK_SOURCE",
    }
    assert list((await registry.call("ListWorkflows")).workflows) == []


async def test_bad_texts_and_bad_definitions_are_named_together(registry: Registry) -> None:
    wrong = pb.Parameter(key="a", type=pb.PARAMETER_TYPE_INTEGER, targets=[pb.ParameterTarget(node_id="7", input="x")])
    error = await registry.refusal(
        "CreateWorkflow", display_name="", graph_json=json.dumps(GRAPH).encode(), parameters=[wrong]
    )
    assert _reasons(error) == {"display_name": "BAD_LENGTH", "parameters[0].targets[0].node_id": "UNKNOWN_NODE"}


@pytest.mark.parametrize(
    ("graph_json", "reason"),
    [
        (b"", "SYNTAX"),
        (b"[]", "NOT_AN_OBJECT"),
        (b'{"nodes": [], "links": []}', "UI_FORMAT"),
        (b'{"1": {"class_type": "\\ud800", "inputs": {}}}', "BAD_STRING"),
        (b'{"1": {"class_type": "A\\u0000", "inputs": {}}}', "BAD_STRING"),
        (b'{"1": {"class_type": "A", "inputs": {"x": 1e999}}}', "NOT_A_NUMBER"),
        (b" " * (8 * 1024 * 1024 + 1), "TOO_LARGE"),
        (b"[" * 200_000, "TOO_DEEP"),
    ],
)
async def test_what_is_no_graph_is_refused_and_nothing_is_stored(
    registry: Registry, graph_json: bytes, reason: str
) -> None:
    assert _reasons(await registry.refusal("DiscoverParameters", graph_json=graph_json)) == {"graph_json": reason}
    error = await registry.refusal("CreateWorkflow", display_name="a", graph_json=graph_json)
    assert _reasons(error) == {"graph_json": reason}
    assert list((await registry.call("ListWorkflows")).workflows) == []


async def test_a_graph_that_is_wrong_everywhere_is_refused_readably(registry: Registry) -> None:
    wrong = {f"{n}-{'x' * 200}": {"class_type": "A"} for n in range(1000)}
    error = await registry.refusal("DiscoverParameters", graph_json=json.dumps(wrong).encode())
    reasons = _reasons(error)
    assert set(reasons.values()) == {"MISSING_INPUTS"}
    assert len(reasons) + int(error.metadata["violations_left_out"]) == 50


async def test_definitions_that_cannot_be_read_are_named(registry: Registry) -> None:
    wrong = pb.Parameter(key="a", default_json=b"{", minimum_json=b'"1"', options_json=[b"1", b"NaN"])
    error = await registry.refusal(
        "CreateWorkflow", display_name="a", graph_json=json.dumps(GRAPH).encode(), parameters=[wrong]
    )
    assert _reasons(error) == {
        "parameters[0].type": "MISSING_TYPE",
        "parameters[0].default_json": "SYNTAX",
        "parameters[0].minimum_json": "WRONG_TYPE",
        "parameters[0].options_json[1]": "NOT_A_NUMBER",
    }


async def test_a_slug_alone_is_a_name_for_people_too(registry: Registry) -> None:
    assert (await registry.create(GRAPH, display_name="")).display_name == "cat"


async def test_without_discovery_a_workflow_has_no_parameters(registry: Registry) -> None:
    made = await registry.create(GRAPH, no_discovery=True)
    assert list(made.version.parameters) == []
    assert not made.version.parameters_discovered


async def test_another_teams_workflow_is_not_found(registry: Registry) -> None:
    made = await registry.create(GRAPH)
    for reference in (made.id, "cat", "red/cat", f"{RED}/cat"):
        for method in ("GetWorkflow", "DeleteWorkflow", "UpdateWorkflow", "ListVersions"):
            error = await registry.refusal(method, workflow=reference, key="sk-blue")
            assert isinstance(error, NotFound)
            assert error.reason == "WORKFLOW_NOT_FOUND"
    assert list((await registry.call("ListWorkflows", key="sk-blue")).workflows) == []
    assert (await registry.create(GRAPH, key="sk-blue")).team_name == "blue"


async def test_rooms_read_for_the_team_they_name(registry: Registry) -> None:
    await registry.create(GRAPH)
    mine: dict[str, Any] = {"key": SERVICE_SECRET, "metadata": for_team(RED)}
    full = (await registry.call("GetWorkflow", workflow="cat@1", view=pb.WORKFLOW_VIEW_FULL, **mine)).workflow
    assert full.version.graph_json != b""
    theirs: dict[str, Any] = {"key": SERVICE_SECRET, "metadata": for_team(BLUE)}
    assert isinstance(await registry.refusal("GetWorkflow", workflow="cat", **theirs), NotFound)


async def test_a_key_that_only_reads_cannot_write(registry: Registry) -> None:
    await registry.create(GRAPH)
    assert (await registry.call("GetWorkflow", workflow="cat", key="sk-reader")).workflow.slug == "cat"
    error = await registry.refusal("DeleteWorkflow", workflow="cat", key="sk-reader")
    assert isinstance(error, PermissionDenied)


async def test_new_content_is_a_new_version_and_equal_content_is_none(registry: Registry) -> None:
    registry.runners.attach(CATALOGUE)
    first = await registry.create(GRAPH)
    same = (
        await registry.call("UpdateWorkflow", workflow="cat", graph_json=json.dumps(GRAPH, indent=2).encode())
    ).workflow
    assert same == first
    other = json.loads(json.dumps(GRAPH))
    other["1"]["inputs"]["seed"] = 7
    request: dict[str, Any] = {
        "workflow": "cat",
        "graph_json": json.dumps(other).encode(),
        "note": "seed 7",
        "expected_version": 1,
    }
    second = (await registry.call("UpdateWorkflow", **request)).workflow
    assert (second.latest_version, second.version.number, second.version.note) == (2, 2, "seed 7")
    assert second.version.parameters_discovered
    assert second.version.parameters[0].default_json == b"7"
    assert second.version.content_hash != first.version.content_hash
    old = (await registry.call("GetWorkflow", workflow="cat@1")).workflow
    assert (old.version, old.latest_version) == (first.version, 2)
    error = await registry.refusal("UpdateWorkflow", **request)
    assert isinstance(error, Aborted)
    versions = (await registry.call("ListVersions", workflow="cat")).versions
    assert [version.number for version in versions] == [2, 1]


async def test_what_an_update_leaves_out_is_unchanged(registry: Registry) -> None:
    await registry.create(GRAPH, tags=["a"], description="d", parameters=[SEED])
    changed = (await registry.call("UpdateWorkflow", workflow="cat", display_name="Dog")).workflow
    assert (changed.display_name, changed.description, list(changed.tags), changed.latest_version) == (
        "Dog",
        "d",
        ["a"],
        1,
    )
    emptied = (await registry.call("UpdateWorkflow", workflow="cat", tags=pb.TagList(), description="")).workflow
    assert (emptied.display_name, emptied.description, list(emptied.tags)) == ("Dog", "", [])
    outputs = pb.OutputDefinitionList(outputs=[pb.OutputDefinition(key="picture", node_id="2")])
    second = (await registry.call("UpdateWorkflow", workflow="cat", outputs=outputs)).workflow
    assert (second.latest_version, list(second.version.parameters)) == (2, [SEED])
    none = (await registry.call("UpdateWorkflow", workflow="cat", parameters=pb.ParameterList())).workflow
    assert (none.latest_version, list(none.version.parameters)) == (3, [])
    assert list(none.version.outputs) == list(outputs.outputs)


async def test_discovered_parameters_stay_discovered_when_only_outputs_change(registry: Registry) -> None:
    first = await registry.create(GRAPH)
    outputs = pb.OutputDefinitionList(outputs=[pb.OutputDefinition(key="picture", node_id="2")])
    second = (await registry.call("UpdateWorkflow", workflow="cat", outputs=outputs)).workflow
    assert second.version.parameters_discovered
    assert list(second.version.parameters) == list(first.version.parameters)


async def test_a_new_graph_must_have_the_places_of_given_parameters(registry: Registry) -> None:
    await registry.create(GRAPH, parameters=[SEED])
    error = await registry.refusal(
        "UpdateWorkflow", workflow="cat", graph_json=json.dumps({"2": GRAPH["2"] | {"inputs": {}}}).encode()
    )
    assert _reasons(error) == {"parameters[0].targets[0].node_id": "UNKNOWN_NODE"}


async def test_updates_at_once_all_become_versions(registry: Registry) -> None:
    await registry.create(GRAPH)

    async def update(seed: int) -> int:
        graph = {**GRAPH, "1": {"class_type": "Sampler", "inputs": {"seed": seed}}}
        answer = await registry.call("UpdateWorkflow", workflow="cat", graph_json=json.dumps(graph).encode())
        number: int = answer.workflow.version.number
        return number

    assert sorted(await asyncio.gather(*(update(seed) for seed in range(4)))) == [2, 3, 4, 5]


async def test_a_request_is_carried_out_once(registry: Registry) -> None:
    first = await registry.create(GRAPH, request_id="r1")
    assert await registry.create(GRAPH, request_id="r1") == first
    error = await registry.refusal(
        "CreateWorkflow", display_name="x", graph_json=json.dumps(GRAPH).encode(), request_id="r1"
    )
    assert isinstance(error, AlreadyExists)
    assert error.reason == "REQUEST_ID_REUSED"
    change: dict[str, Any] = {"workflow": "cat", "parameters": pb.ParameterList(parameters=[SEED]), "request_id": "r2"}
    second = (await registry.call("UpdateWorkflow", **change)).workflow
    await registry.call("UpdateWorkflow", workflow="cat", parameters=pb.ParameterList())
    again = (await registry.call("UpdateWorkflow", **change)).workflow
    assert (again.version, again.latest_version) == (second.version, 3)


async def test_deletion_is_soft_and_repeatable(registry: Registry) -> None:
    await registry.create(GRAPH)
    for _ in range(2):
        await registry.call("DeleteWorkflow", workflow="cat")
    for method in ("GetWorkflow", "UpdateWorkflow", "ListVersions"):
        assert isinstance(await registry.refusal(method, workflow="cat"), NotFound)
    assert isinstance(await registry.refusal("DeleteWorkflow", workflow="dog"), NotFound)
    error = await registry.refusal(
        "CreateWorkflow", slug="cat", display_name="a", graph_json=json.dumps(GRAPH).encode()
    )
    assert isinstance(error, AlreadyExists)


@pytest.mark.parametrize(
    ("method", "fields", "named"),
    [
        ("GetWorkflow", {"workflow": "No Such"}, "workflow"),
        ("GetWorkflow", {"workflow": "cat@0"}, "workflow"),
        ("DeleteWorkflow", {"workflow": "cat@1"}, "workflow"),
        ("UpdateWorkflow", {"workflow": "cat", "expected_version": 0}, "expected_version"),
        ("ListWorkflows", {"filter": "nope = 1"}, "filter"),
        ("ListWorkflows", {"order_by": "nope"}, "order_by"),
        ("ListWorkflows", {"page_token": "nope"}, "page_token"),
        ("ListWorkflows", {"page_size": -1}, "page_size"),
    ],
)
async def test_malformed_questions_are_named(
    registry: Registry, method: str, fields: dict[str, Any], named: str
) -> None:
    assert list(_reasons(await registry.refusal(method, **fields))) == [named]


async def test_lists_go_page_by_page(registry: Registry) -> None:
    for n in range(5):
        await registry.create(GRAPH, slug=f"w{n}", tags=["even"] if n % 2 == 0 else [])
    seen, token = [], ""
    while True:
        page = await registry.call("ListWorkflows", page_size=2, page_token=token, filter="tags:even", order_by="slug")
        seen += [workflow.slug for workflow in page.workflows]
        if not (token := page.next_page_token):
            break
    assert seen == ["w0", "w2", "w4"]


async def test_a_large_graph_is_taken_up_to_its_limit(registry: Registry) -> None:
    graph = {"1": {"class_type": "A", "inputs": {"text": "x" * (8 * 1024 * 1024 - 100)}}}
    made = await registry.create(graph)
    full = (await registry.call("GetWorkflow", workflow="cat", view=pb.WORKFLOW_VIEW_FULL)).workflow
    assert len(full.version.graph_json) > 8 * 1024 * 1024 - 100
    assert made.version.ByteSize() < 10_000


async def test_versions_and_deletion_are_told_to_other_rooms(database: Database, nats: Nats) -> None:
    events: list[tuple[str, event_pb2.Event]] = []
    changed = asyncio.Event()

    async def receive(subject: str, body: bytes) -> None:
        events.append((subject, event_pb2.Event.FromString(body)))
        changed.set()

    request_id = new_id()
    subjects = [f"comfyfleet.{RED}.registry.>"]
    consumer = run_consumer(nats=nats, durable=f"test-{request_id}", subjects=subjects, receive=receive)
    async with open_registry(database=database, nats=nats) as registry, background(consumer=consumer):
        made = await registry.create(GRAPH, metadata=((REQUEST_ID, request_id),))
        await registry.call("DeleteWorkflow", workflow="cat")

        def mine() -> list[tuple[str, event_pb2.Event]]:
            facts = (one for one in events if made.id in str(one[1]))
            return sorted(facts, key=lambda one: one[1].id)

        await until(lambda: len(mine()) == 2, changed)
    (first, version), (second, deleted) = mine()
    assert first == f"comfyfleet.{RED}.registry.workflow_version_created"
    assert second == f"comfyfleet.{RED}.registry.workflow_deleted"
    assert (version.team_id, version.request_id) == (RED, request_id)
    assert (version.workflow_version_created.slug, version.workflow_version_created.version) == ("cat", 1)
    assert deleted.workflow_deleted.workflow_id == made.id


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"x": [f"$text(a{n})" for n in range(50_000)]}, "TOO_MANY"),
        ({f"x{n}": "$text(a)" for n in range(50_000)}, "TOO_LARGE"),
    ],
)
async def test_too_many_placeholders_are_refused(registry: Registry, inputs: dict[str, Any], reason: str) -> None:
    graph_json = json.dumps({"1": {"class_type": "A", "inputs": inputs}}).encode()
    error = await registry.refusal("DiscoverParameters", graph_json=graph_json)
    assert _reasons(error) == {"parameters": reason}


@pytest.mark.parametrize("inputs", [{f"x{n}": 1 for n in range(50_000)}, {"x": {"a." * 4000: "$text(a)"}}])
async def test_a_graph_full_of_literals_gives_a_small_answer(registry: Registry, inputs: dict[str, Any]) -> None:
    graph_json = json.dumps({"1": {"class_type": "A", "inputs": inputs}}).encode()
    found = await registry.call("DiscoverParameters", graph_json=graph_json)
    assert 1 <= len(found.parameters) <= 500
    assert found.ByteSize() < 1024 * 1024


async def test_a_path_full_of_dots_is_refused_soon(registry: Registry) -> None:
    targets = [pb.ParameterTarget(node_id="1", input="." * 1024) for _ in range(256)]
    parameters = [pb.Parameter(key=f"a{n}", type=pb.PARAMETER_TYPE_JSON, targets=targets) for n in range(3)]
    error = await registry.refusal(
        "CreateWorkflow", display_name="a", graph_json=json.dumps(GRAPH).encode(), parameters=parameters
    )
    assert set(_reasons(error).values()) == {"UNKNOWN_INPUT"}
