"""The shape of a graph in API format."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidArgument
from services.common.graph import (
    MAX_VIOLATIONS,
    check_graph,
    find_input,
    links,
    literals,
    node_classes,
    node_title,
    read_graph,
)
from services.common.json_bytes import JsonValue

GRAPH: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}, "_meta": {"title": "Photo"}},
    "2": {"class_type": "ImageScale", "inputs": {"image": ["1", 0], "width": 64, "crop": "disabled"}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
}


def _reasons(value: JsonValue) -> dict[str, str]:
    return {violation.field: violation.reason for violation in check_graph(value)}


def test_a_right_graph_has_no_violations() -> None:
    assert check_graph(GRAPH) == []
    assert read_graph(json.dumps(GRAPH).encode()) == GRAPH


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "NOT_AN_OBJECT"),
        ([GRAPH], "NOT_AN_OBJECT"),
        (None, "NOT_AN_OBJECT"),
        ("x", "NOT_AN_OBJECT"),
        ({}, "EMPTY_GRAPH"),
        ({"nodes": [], "links": [], "version": 0.4}, "UI_FORMAT"),
        ({str(i): {} for i in range(10_001)}, "TOO_MANY_NODES"),
    ],
)
def test_what_is_no_graph_is_named_as_a_whole(value: JsonValue, reason: str) -> None:
    assert _reasons(value) == {"graph_json": reason}


def test_every_broken_node_is_named() -> None:
    value: JsonValue = {
        "1": 7,
        "2": {"inputs": {}},
        "3": {"class_type": "A"},
        "4": {"class_type": "", "inputs": []},
        "": {"class_type": "A", "inputs": {"": 1}},
    }
    assert _reasons(value) == {
        "graph_json.1": "NOT_A_NODE",
        "graph_json.2.class_type": "MISSING_CLASS",
        "graph_json.3.inputs": "MISSING_INPUTS",
        "graph_json.4.class_type": "MISSING_CLASS",
        "graph_json.4.inputs": "MISSING_INPUTS",
        "graph_json.": "BAD_NAME",
        "graph_json..inputs.": "BAD_NAME",
    }


def test_broken_links_are_named() -> None:
    value: JsonValue = {
        "1": {"class_type": "A", "inputs": {"x": ["9", 0], "y": ["1", -1], "z": ["2", 0.5], "list": ["a", "b"]}},
        "2": {"class_type": "A", "inputs": {}},
    }
    assert _reasons(value) == {
        "graph_json.1.inputs.x": "UNKNOWN_LINK_SOURCE",
        "graph_json.1.inputs.y": "BAD_LINK_OUTPUT",
        "graph_json.1.inputs.z": "BAD_LINK_OUTPUT",
    }


def test_cycles_are_named() -> None:
    value: JsonValue = {
        "1": {"class_type": "A", "inputs": {"x": ["2", 0]}},
        "2": {"class_type": "A", "inputs": {"x": ["3", 0]}},
        "3": {"class_type": "A", "inputs": {"x": ["1", 0]}},
        "4": {"class_type": "A", "inputs": {"x": ["4", 0]}},
        "5": {"class_type": "A", "inputs": {"x": ["1", 0]}},
    }
    assert _reasons(value) == {"graph_json.3": "CYCLE", "graph_json.4": "CYCLE"}


def test_a_diamond_is_no_cycle() -> None:
    value: JsonValue = {
        "1": {"class_type": "A", "inputs": {}},
        "2": {"class_type": "A", "inputs": {"x": ["1", 0]}},
        "3": {"class_type": "A", "inputs": {"x": ["1", 0]}},
        "4": {"class_type": "A", "inputs": {"x": ["2", 0], "y": ["3", 0]}},
    }
    assert check_graph(value) == []


def test_a_long_chain_is_checked_without_recursion() -> None:
    chain: dict[str, JsonValue] = {
        str(i): {"class_type": "A", "inputs": {"x": [str(i + 1), 0]} if i < 9_999 else {}} for i in range(10_000)
    }
    assert check_graph(chain) == []


def test_violations_are_bounded() -> None:
    assert len(check_graph({str(i): 0 for i in range(1000)})) == MAX_VIOLATIONS
    wrong: dict[str, JsonValue] = {str(i): {"class_type": "A", "inputs": {"x": ["no", 0]}} for i in range(1000)}
    assert len(check_graph(wrong)) == MAX_VIOLATIONS


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "SYNTAX"),
        (b"\xff", "NOT_UTF8"),
        (b'{"1": {"class_type": "A", "inputs": {"x": NaN}}}', "NOT_A_NUMBER"),
        (b'{"1": {"class_type": "A\\u0000", "inputs": {}}}', "BAD_STRING"),
        (b'{"1": {"class_type": "\\ud800", "inputs": {}}}', "BAD_STRING"),
        (b'{"1": {"class_type": "A", "inputs": {"x": 18446744073709551616}}}', "INTEGER_RANGE"),
        (b'{"1": ' + b"[" * 100 + b"]" * 100 + b"}", "TOO_DEEP"),
        (b'{"x": "' + b"a" * 8 * 1024 * 1024 + b'"}', "TOO_LARGE"),
    ],
)
def test_bytes_that_are_no_json_are_named(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        read_graph(data, field="graph")
    assert [(v.field, v.reason) for v in refused.value.violations] == [("graph", reason)]


def test_links_and_literals_share_the_inputs() -> None:
    assert [(link.node_id, link.input, link.source_id, link.output) for link in links(GRAPH)] == [
        ("2", "image", "1", 0),
        ("3", "images", "2", 0),
    ]
    assert [(literal.node_id, literal.input, literal.value) for literal in literals(GRAPH)] == [
        ("1", "image", "cat.png"),
        ("2", "width", 64),
        ("2", "crop", "disabled"),
        ("3", "filename_prefix", "x"),
    ]


def test_classes_and_titles() -> None:
    assert node_classes(GRAPH) == ["ImageScale", "LoadImage", "SaveImage"]
    assert node_title(GRAPH["1"]) == "Photo"
    assert node_title(GRAPH["2"]) == "ImageScale"
    assert node_title({"class_type": "A", "inputs": {}, "_meta": 7}) == "A"


def test_a_place_is_found_by_name_and_by_path() -> None:
    inputs: dict[str, Any] = {"a.b": {"c.d": [1, {"e": 2}]}, "a": {"b": 3}}
    place = find_input(inputs, "a.b.c.d.1.e")
    assert place is not None
    assert place.value == 2
    place.set(5)
    assert inputs["a.b"]["c.d"][1]["e"] == 5
    assert find_input(inputs, "a.b") is not None
    for path in ("", "x", "a.b.c", "a.b.c.d.2", "a.b.c.d.-1", "a.b.c.d.0.x", "a.x"):
        assert find_input(inputs, path) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["class_type", "inputs", "1"]), inner)
        ),
    )
)
def test_any_json_is_checked_without_error(value: JsonValue) -> None:
    check_graph(value)
