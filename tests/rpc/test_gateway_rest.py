"""Workflows, credentials, probes and the document by REST, in front of scripted rooms."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from services.common.errors import Aborted
from tests.rpc.gateway_rig import Rig, open_rig

BIG = 18446744073709551615


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    async with open_rig() as made:
        yield made


async def test_workflow_s_graph_and_definitions_arrive_exactly(rig: Rig) -> None:
    parameter = {
        "key": "seed",
        "type": "integer",
        "default": BIG,
        "options": [None, 1],
        "targets": [{"node_id": "3", "input": "seed"}],
    }
    body = {"display_name": "Colour", "graph": {"3": {"inputs": {"seed": BIG}}}, "parameters": [parameter]}
    async with rig.http.post(f"{rig.url}/v1/workflows", json=body) as response:
        assert response.status == 201
        assert response.headers["etag"] == '"3"'
    asked = rig.rooms.registry.asked[0]
    assert asked.graph_json == b'{"3":{"inputs":{"seed":18446744073709551615}}}'
    assert asked.parameters[0].default_json == b"18446744073709551615"
    assert list(asked.parameters[0].options_json) == [b"null", b"1"]


async def test_null_default_is_a_value_and_an_absent_one_is_none(rig: Rig) -> None:
    for default, expected in (({"default": None}, b"null"), ({}, b"")):
        parameters = [{"key": "a", "type": "json", **default}]
        async with rig.http.post(f"{rig.url}/v1/workflows", json={"graph": {}, "parameters": parameters}) as response:
            assert response.status == 201
        assert rig.rooms.registry.asked[-1].parameters[0].default_json == expected


async def test_wrong_definitions_are_named_by_their_place(rig: Rig) -> None:
    parameters = [{"key": 1, "type": "sound", "colour": 2}, 5]
    async with rig.http.post(f"{rig.url}/v1/workflows", json={"graph": {}, "parameters": parameters}) as response:
        assert response.status == 400
        fields = {one["field"] for one in (await response.json())["violations"]}
    assert fields == {"parameters[0].key", "parameters[0].type", "parameters[0].colour", "parameters[1]"}


async def test_references_come_in_both_forms(rig: Rig) -> None:
    for path, reference in (("colour@2", "colour@2"), ("art/colour", "art/colour"), ("art%2Fcolour", "art/colour")):
        async with rig.http.get(f"{rig.url}/v1/workflows/{path}") as response:
            assert response.status == 200
        assert rig.rooms.registry.asked[-1].workflow == reference


async def test_change_under_an_outdated_tag_is_412(rig: Rig) -> None:
    rig.rooms.registry.refusal = Aborted("Version 4 is the newest.", reason="VERSION_CHANGED")
    url = f"{rig.url}/v1/workflows/colour"
    async with rig.http.patch(url, json={"tags": []}, headers={"if-match": '"3"'}) as response:
        assert response.status == 412
    asked = rig.rooms.registry.asked[-1]
    assert (asked.expected_version, asked.HasField("tags"), asked.HasField("parameters")) == (3, True, False)
    async with rig.http.patch(url, json={"expected_version": 3}) as response:
        assert response.status == 409


async def test_list_links_to_its_next_page(rig: Rig) -> None:
    async with rig.http.get(f"{rig.url}/v1/workflows?page_size=1&filter=slug%3D%22a%22") as response:
        assert (await response.json())["next_page_token"] == "more"
        expected = f"<{rig.url}/v1/workflows?page_size=1&filter=slug%3D%22a%22&page_token=more>"
        assert response.headers["link"] == f'{expected}; rel="next"'
    assert rig.rooms.registry.asked[-1].filter == 'slug="a"'


async def test_secret_is_in_the_answer_and_in_no_cache(rig: Rig) -> None:
    body = {"kind": "integration", "display_name": "CI", "scopes": ["runs:read"]}
    async with rig.http.post(f"{rig.url}/v1/credentials", json=body) as response:
        assert response.headers["cache-control"] == "no-store"
        assert (await response.json())["secret"] == "sk-shown-once"


async def test_probes_are_open_and_know_the_rooms(rig: Rig) -> None:
    for path in ("/healthz", "/readyz"):
        async with rig.http.get(rig.url + path) as response:
            assert (response.status, await response.json()) == (200, {"status": "ok"})


async def test_document_names_every_route_and_only_schemas_that_exist(rig: Rig) -> None:
    async with rig.http.get(f"{rig.url}/openapi.json") as response:
        document = await response.json()
    assert document["openapi"].startswith("3.0")
    assert "/v1/runs/{run_id}:cancel" in document["paths"]
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert len({one["operationId"] for one in operations}) == len(operations)
    for path, methods in document["paths"].items():
        for operation in methods.values():
            placed = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert placed == {piece.split("}")[0] for piece in path.split("{")[1:]}, path
    assert _references(document) <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


async def test_answers_are_what_the_document_says(rig: Rig) -> None:
    async with rig.http.get(f"{rig.url}/openapi.json") as response:
        schemas = (await response.json())["components"]["schemas"]
    file = rig.rooms.files.store(b"x")
    for path, name in (
        (f"/v1/runs/{rig.rooms.runs.run.id}", "Run"),
        (f"/v1/files/{file.id}", "File"),
        ("/v1/workflows/colour", "Workflow"),
        ("/v1/runs/nobody", "Problem"),
    ):
        async with rig.http.get(rig.url + path) as response:
            keys = set(await response.json())
        assert set(schemas[name]["required"]) <= keys <= set(schemas[name]["properties"]), name


async def test_docs_page_asks_no_other_address(rig: Rig) -> None:
    async with rig.http.get(f"{rig.url}/docs") as response:
        page = await response.text()
    assert "//" not in page.replace("<!doctype html>", "")
    assets = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert len(assets) == 4
    for asset in assets:
        async with rig.http.get(f"{rig.url}/{asset}") as response:
            assert response.status == 200
    async with rig.http.get(f"{rig.url}/docs/assets/..%2f__init__.py") as response:
        assert response.status == 404


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(_references(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(item) for item in value))
    return set()
