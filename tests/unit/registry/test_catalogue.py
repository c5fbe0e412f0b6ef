"""What a node catalogue says of its inputs."""

import json
from typing import Any

import pytest

from services.common.parameters import ParameterType
from services.registry.discovery import read_catalogue
from services.registry.discovery.catalogue import InputSpec

FILE, INT, NUMBER, SELECT = ParameterType.FILE, ParameterType.INTEGER, ParameterType.NUMBER, ParameterType.SELECT
MAX = 2**64 - 1


def _spec(spec: Any) -> InputSpec | None:
    body = json.dumps({"A": {"input": {"required": {"x": spec}}}}).encode()
    return read_catalogue("h", body).classes["A"].inputs.get("x")


@pytest.mark.parametrize(
    ("spec", "read"),
    [
        (["INT", {"min": 0, "max": MAX, "step": 8}], InputSpec(type=INT, minimum=0, maximum=MAX, step=8)),
        (["INT", {"min": -MAX, "max": 10**400}], InputSpec(type=INT, minimum=-(2**63), maximum=MAX)),
        (["INT", {"min": 1.0, "max": 2.5}], InputSpec(type=INT, minimum=1)),
        (["INT", {"min": 5, "max": 1}], InputSpec(type=INT)),
        (["FLOAT", {"min": 0, "max": 1.5, "step": 0.1}], InputSpec(type=NUMBER, minimum=0, maximum=1.5, step=0.1)),
        (["FLOAT", {"max": float("inf"), "min": True}], InputSpec(type=NUMBER)),
        (["FLOAT"], InputSpec(type=NUMBER)),
        (["STRING", {"tooltip": "What\x00 it is"}], InputSpec(type=ParameterType.STRING, tooltip="What it is")),
        (["BOOLEAN", {"default": True}], InputSpec(type=ParameterType.BOOLEAN)),
        ([["a", "b", "a", None, {}]], InputSpec(type=SELECT, options=("a", "b"))),
        ([[1, 2.5, True]], InputSpec(type=SELECT, options=(1, 2.5, True))),
        (["COMBO", {"options": ["a"]}], InputSpec(type=SELECT, options=("a",))),
        (["COMBO", {"options": ["a"], "multiselect": True}], InputSpec(type=SELECT, options=("a",), multiple=True)),
        (["COMBO", {"remote": {}}], InputSpec(type=ParameterType.STRING)),
        ([[]], InputSpec(type=ParameterType.STRING)),
        ([[str(n) for n in range(1001)]], InputSpec(type=ParameterType.STRING)),
        ([["a.png"], {"image_upload": True}], InputSpec(type=FILE, accept=("image/*",))),
        (["COMBO", {"options": ["a.mp4"], "video_upload": True}], InputSpec(type=FILE, accept=("video/*",))),
        ([["a.wav"], {"audio_upload": True}], InputSpec(type=FILE, accept=("audio/*",))),
        (["IMAGE"], None),
        (["MODEL", {"tooltip": "x"}], None),
        (["*", {}], None),
        ([], None),
        ("INT", None),
        (None, None),
        ([{"INT": 1}], None),
    ],
)  # fmt: skip
def test_an_input_is_understood_or_left_out(spec: Any, read: InputSpec | None) -> None:
    assert _spec(spec) == read


def test_a_lone_surrogate_does_not_reach_a_version() -> None:
    assert _spec([["a", "\ud800"]]) == InputSpec(type=SELECT, options=("a",))


@pytest.mark.parametrize("body", [b"[]", b"null", b'{"A": 7, "B": {"input": []}, "C": {"input": {"required": 3}}}'])
def test_another_shape_gives_an_empty_catalogue(body: bytes) -> None:
    assert all(not node_class.inputs for node_class in read_catalogue("h", body).classes.values())


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_catalogue("h", body)


def test_output_nodes_and_optional_inputs_are_seen() -> None:
    body = json.dumps({"A": {"output_node": True, "input": {"optional": {"x": ["INT"]}, "hidden": {"y": ["INT"]}}}})
    node_class = read_catalogue("h", body.encode()).classes["A"]
    assert node_class.output_node
    assert list(node_class.inputs) == ["x"]
