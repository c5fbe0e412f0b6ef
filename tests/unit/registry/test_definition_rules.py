"""Definitions that callers give."""

from typing import Any

import pytest

from services.common.parameters import Default, OutputDefinition, Parameter, ParameterTarget, ParameterType
from services.registry.discovery import placeholder_targets
from services.registry.model.definition_json import (
    content_hash,
    output_from_json,
    output_to_json,
    parameter_from_json,
    parameter_to_json,
)
from services.registry.model.definition_rules import MAX_VIOLATIONS, check_definitions, with_placeholder_targets

GRAPH: dict[str, Any] = {
    "1": {
        "class_type": "A",
        "inputs": {"seed": 1, "cfg": 1.5, "link": ["2", 0], "deep": {"a": [1]}, "p": "$text(prompt)"},
    },
    "2": {"class_type": "B", "inputs": {}},
}
HERE = (ParameterTarget(node_id="1", input="seed"),)


def _given(**more: Any) -> Parameter:
    wanted: dict[str, Any] = {"key": "seed", "type": ParameterType.INTEGER, "targets": HERE, **more}
    return Parameter(**wanted)


def _fields(*parameters: Parameter, outputs: tuple[OutputDefinition, ...] = ()) -> dict[str, str]:
    return {violation.field: violation.reason for violation in check_definitions(GRAPH, parameters, outputs)}


def test_right_definitions_pass() -> None:
    deep = (ParameterTarget(node_id="1", input="deep.a.0"),)
    options = ("a", 1, True)
    assert (
        _fields(
            _given(minimum=0, maximum=2**64 - 1, step=1, default=Default(value=2**64 - 1)),
            _given(key="s", type=ParameterType.SELECT, options=options, default=Default(value=True), targets=deep),
            outputs=(OutputDefinition(key="out", node_id="2"),),
        )
        == {}
    )


@pytest.mark.parametrize(
    ("more", "field", "reason"),
    [
        ({"key": ""}, "key", "BAD_LENGTH"),
        ({"key": "x" * 129}, "key", "BAD_LENGTH"),
        ({"key": "a\x00"}, "key", "BAD_STRING"),
        ({"key": "_run"}, "key", "RESERVED_KEY"),
        ({"label": "x" * 201}, "label", "BAD_LENGTH"),
        ({"description": "\x00"}, "description", "BAD_STRING"),
        ({"minimum": 1.5}, "minimum_json", "WRONG_TYPE"),
        ({"minimum": 2, "maximum": 1}, "minimum_json", "OUT_OF_RANGE"),
        ({"step": 0}, "step_json", "OUT_OF_RANGE"),
        ({"type": ParameterType.STRING, "step": 1}, "step_json", "OUT_OF_RANGE"),
        ({"type": ParameterType.BOOLEAN, "maximum": 1}, "maximum_json", "NOT_BOUNDED"),
        ({"options": (1,)}, "options_json", "NOT_A_SELECT"),
        ({"type": ParameterType.SELECT}, "options_json", "BAD_LENGTH"),
        ({"type": ParameterType.SELECT, "options": (1, 1)}, "options_json", "DUPLICATE_OPTION"),
        ({"type": ParameterType.SELECT, "options": ([],)}, "options_json", "WRONG_TYPE"),
        ({"accept": ("image/*",)}, "accept", "NOT_A_FILE"),
        ({"type": ParameterType.FILE, "accept": ("image",)}, "accept", "BAD_MEDIA_TYPE"),
        ({"default": Default(value="1")}, "default_json", "WRONG_TYPE"),
        ({"maximum": 5, "default": Default(value=6)}, "default_json", "OUT_OF_RANGE"),
        ({"multiple": True, "default": Default(value=6)}, "default_json", "WRONG_TYPE"),
        ({"multiple": True, "default": Default(value=[6, "7"])}, "default_json", "WRONG_TYPE"),
        ({"targets": ()}, "targets", "BAD_LENGTH"),
        ({"targets": (ParameterTarget(node_id="9", input="x"),)}, "targets[0].node_id", "UNKNOWN_NODE"),
        ({"targets": (ParameterTarget(node_id="1", input="x"),)}, "targets[0].input", "UNKNOWN_INPUT"),
        ({"targets": (ParameterTarget(node_id="1", input="link"),)}, "targets[0].input", "INPUT_IS_LINKED"),
        ({"targets": HERE * 2}, "targets[1]", "DUPLICATE_TARGET"),
    ],
)
def test_a_wrong_definition_is_named(more: dict[str, Any], field: str, reason: str) -> None:
    assert _fields(_given(**more)) == {f"parameters[0].{field}": reason}


def test_all_definitions_are_checked_at_once() -> None:
    outputs = (OutputDefinition(key="o", node_id="1"), OutputDefinition(key="o", node_id="9"))
    assert _fields(_given(), _given(), outputs=outputs) == {
        "parameters[1].key": "DUPLICATE_KEY",
        "parameters[1].targets[0]": "DUPLICATE_TARGET",
        "outputs[1].key": "DUPLICATE_KEY",
        "outputs[1].node_id": "UNKNOWN_NODE",
    }


def test_definitions_are_bounded() -> None:
    assert _fields(*[_given()] * 1001) == {"parameters": "TOO_MANY"}
    assert _fields(_given(description="x" * 2_000_000)) == {"parameters": "TOO_LARGE"}
    wrong = [_given(key="")] * 500
    assert len(check_definitions(GRAPH, wrong, ())) == MAX_VIOLATIONS


def test_a_parameter_without_targets_lands_in_the_placeholder_of_its_name() -> None:
    prompt = Parameter(key="prompt", type=ParameterType.STRING)
    (settled,) = with_placeholder_targets([prompt], placeholder_targets(GRAPH))
    assert settled.targets == (ParameterTarget(node_id="1", input="p"),)


@pytest.mark.parametrize(
    "parameter",
    [
        _given(),
        _given(minimum=0, maximum=0, step=0.5, default=Default(value=None), required=True, multiple=True),
        _given(
            default=Default(value=False), options=(False, 0, ""), accept=("a/b",), label="l", typed_by_catalogue=True
        ),
    ],
)
def test_definitions_survive_their_rows(parameter: Parameter) -> None:
    assert parameter_from_json(parameter_to_json(parameter)) == parameter
    output = OutputDefinition(key="o", node_id="1", kind="image")
    assert output_from_json(output_to_json(output)) == output


def test_equal_content_has_an_equal_hash() -> None:
    turned = dict(reversed(GRAPH.items()))
    assert content_hash(GRAPH, [_given()], []) == content_hash(turned, [_given()], [])
    assert content_hash(GRAPH, [_given()], []) != content_hash(GRAPH, [_given(minimum=0)], [])
    assert content_hash(GRAPH, [], []) != content_hash(GRAPH, [], [OutputDefinition(key="o", node_id="1")])
