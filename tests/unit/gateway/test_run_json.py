"""Runs as JSON, and run requests from JSON."""

import json
from typing import Any

import pytest
from comfyfleet.run.v1 import run_pb2, run_service_pb2
from hypothesis import given
from hypothesis import strategies as st

from gateway.json_answer import encode
from gateway.openapi.schemas import SCHEMAS
from gateway.rest.run_json import run_json
from gateway.rest.run_request import run_request
from services.common.errors import InvalidArgument
from services.common.json_bytes import MAX_INTEGER, MIN_INTEGER, canonical_json

BASE = "http://fleet"
LEFT_TO_THE_DOOR = {"origin", "public_url", "parameters_text"}


def asked(body: dict[str, Any], *, workflow: str | None = None, key: str = "") -> run_service_pb2.CreateRunRequest:
    """The message for `body`."""
    return run_request(body, workflow=workflow, key=key, base=BASE)


@given(st.integers(min_value=MIN_INTEGER, max_value=MAX_INTEGER))
def test_integers_of_64_bits_go_in_and_come_out_exactly(seed: int) -> None:
    assert json.loads(asked({"graph": {"seed": seed}}).graph_json) == {"seed": seed}
    run = run_pb2.Run(id="r", graph_json=canonical_json({"seed": seed}))
    assert json.loads(encode(run_json(run, base=BASE, full=True)))["graph"] == {"seed": seed}


def test_request_can_set_every_field_of_the_contract() -> None:
    fields = {one.name.removesuffix("_json") for one in run_service_pb2.CreateRunRequest.DESCRIPTOR.fields}
    assert fields - LEFT_TO_THE_DOOR == set(SCHEMAS["RunRequest"]["properties"])
    for name in set(SCHEMAS["RunRequest"]["properties"]) - {"graph"}:
        asked({"graph": {}, name: None})  # null is absence: an unknown field would be refused
        with pytest.raises(InvalidArgument) as caught:
            asked({"graph": {}, name: [1]})
        assert {one.field for one in caught.value.violations} == {name}


def test_run_shows_every_field_of_the_contract() -> None:
    shown = set(run_json(run_pb2.Run(), base=BASE, full=True)) - {"links"}
    fields = {one.name.removesuffix("_json") for one in run_pb2.Run.DESCRIPTOR.fields}
    assert shown == fields - {"public_url"}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["workflow"]),
        ({"workflow": "a", "graph": {}}, ["graph"]),
        ({"graph": {}, "queue_ttl": 30}, ["queue_ttl"]),
        ({"graph": {}, "queue_ttl": "-1s"}, ["queue_ttl"]),
        ({"graph": {}, "labels": {"a": 1}}, ["labels"]),
        ({"graph": {}, "tags": ["a", 1]}, ["tags"]),
        ({"graph": {}, "require_runner": "yes"}, ["require_runner"]),
        ({"graph": {}, "priority": True}, ["priority"]),
        ({"graph": {}, "priority": 1.0}, ["priority"]),
        ({"graph": {}, "tag_match": "some"}, ["tag_match"]),
    ],
)
def test_wrong_fields_are_violations(body: dict[str, Any], fields: list[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        asked(body)
    assert [one.field for one in caught.value.violations] == fields


def test_absent_booleans_stay_absent() -> None:
    made = asked({"graph": {}})
    assert not made.HasField("retry_on_lost")
    assert not made.HasField("progress")
    assert asked({"graph": {}, "retry_on_lost": False}).HasField("retry_on_lost")


def test_route_and_body_may_not_both_name_the_workflow() -> None:
    assert asked({}, workflow="art/colour").workflow == "art/colour"
    with pytest.raises(InvalidArgument):
        asked({"workflow": "b"}, workflow="art/colour")


def test_header_and_field_of_the_request_id_are_one() -> None:
    assert asked({"graph": {}}, key="k").request_id == "k"
    assert asked({"graph": {}, "request_id": "k"}, key="k").request_id == "k"
    with pytest.raises(InvalidArgument):
        asked({"graph": {}, "request_id": "other"}, key="k")
