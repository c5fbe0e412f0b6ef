"""Values of a run against the definitions of its workflow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.json_bytes import JsonValue
from services.common.parameters import Default, Parameter, ParameterType, validate_values, with_defaults

FILE_ID = "01920000-0000-7000-8000-000000000001"

DEFINITIONS = (
    Parameter(key="prompt", type=ParameterType.STRING, required=True, minimum=1, maximum=10),
    Parameter(key="seed", type=ParameterType.INTEGER, minimum=0, maximum=2**64 - 1),
    Parameter(key="cfg", type=ParameterType.NUMBER, minimum=0.0, maximum=100.0),
    Parameter(key="tiled", type=ParameterType.BOOLEAN),
    Parameter(key="sampler", type=ParameterType.SELECT, options=("euler", "ddim", 3), default=Default(value="euler")),
    Parameter(key="image", type=ParameterType.FILE, accept=("image/*",)),
    Parameter(key="sizes", type=ParameterType.INTEGER, multiple=True, minimum=1),
    Parameter(key="extra", type=ParameterType.JSON),
)
JSON_VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def _reasons(typed: dict[str, JsonValue], text: dict[str, list[str]] | None = None) -> dict[str, str]:
    violations = validate_values(DEFINITIONS, {"prompt": "cat", **typed}, text or {}).violations
    return {violation.field: violation.reason for violation in violations}


def test_right_values_pass_unchanged() -> None:
    typed: dict[str, JsonValue] = {
        "prompt": "cat",
        "seed": 18446744073709551615,
        "cfg": 7,
        "tiled": False,
        "sampler": 3,
        "image": FILE_ID,
        "sizes": [1, 2],
        "extra": {"a": None},
    }
    validated = validate_values(DEFINITIONS, typed, {})
    assert validated.violations == ()
    assert validated.values == typed


def test_text_is_converted_and_repeated_fields_are_a_list() -> None:
    text = {
        "prompt": ["cat"],
        "seed": ["18446744073709551615"],
        "tiled": ["on"],
        "sampler": ["3"],
        "sizes": ["4", "5"],
        "extra": ['{"a":[]}'],
    }
    validated = validate_values(DEFINITIONS, {}, text)
    assert validated.violations == ()
    assert validated.values == {
        "prompt": "cat",
        "seed": 2**64 - 1,
        "tiled": True,
        "sampler": 3,
        "sizes": [4, 5],
        "extra": {"a": []},
    }


def test_all_violations_come_at_once() -> None:
    validated = validate_values(
        DEFINITIONS,
        {"seed": "7", "cfg": 100.5, "sampler": "heun", "image": "cat.png", "sizes": [0, "x"], "nope": 1, "tiled": True},
        {"tiled": ["1"], "nada": ["1"], "extra": ["{"]},
    )
    assert {violation.field: violation.reason for violation in validated.violations} == {
        "parameters.nope": "UNKNOWN_PARAMETER",
        "parameters.nada": "UNKNOWN_PARAMETER",
        "parameters.prompt": "MISSING_PARAMETER",
        "parameters.seed": "WRONG_TYPE",
        "parameters.cfg": "OUT_OF_RANGE",
        "parameters.tiled": "GIVEN_TWICE",
        "parameters.sampler": "NOT_AN_OPTION",
        "parameters.image": "BAD_FILE_REFERENCE",
        "parameters.sizes[0]": "OUT_OF_RANGE",
        "parameters.sizes[1]": "WRONG_TYPE",
        "parameters.extra": "NOT_JSON",
    }
    assert validated.values == {}


@pytest.mark.parametrize("value", ["7", 7.0, True, None, [7], {}])
def test_only_a_json_integer_is_an_integer(value: JsonValue) -> None:
    assert _reasons({"seed": value}) == {"parameters.seed": "WRONG_TYPE"}


@pytest.mark.parametrize("value", ["7", True, None])
def test_only_a_json_number_is_a_number(value: JsonValue) -> None:
    assert _reasons({"cfg": value}) == {"parameters.cfg": "WRONG_TYPE"}


@pytest.mark.parametrize("value", [1, 0, "true", None])
def test_only_json_true_and_false_are_booleans(value: JsonValue) -> None:
    assert _reasons({"tiled": value}) == {"parameters.tiled": "WRONG_TYPE"}


@pytest.mark.parametrize("value", [3.0, "3", "EULER", True])
def test_an_option_must_be_the_same_json(value: JsonValue) -> None:
    assert _reasons({"sampler": value}) == {"parameters.sampler": "NOT_AN_OPTION"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("https://example.com/a.png", "URL_NOT_TAKEN"),
        ("http://example.com/a.png", "BAD_FILE_REFERENCE"),
        ("file:///etc/passwd", "BAD_FILE_REFERENCE"),
        ("", "BAD_FILE_REFERENCE"),
        ("data:text/plain;base64,aGk=", "WRONG_MEDIA_TYPE"),
        ("data:,hi", "WRONG_MEDIA_TYPE"),
        (7, "WRONG_TYPE"),
    ],
)
def test_a_wrong_file_reference_is_named(value: JsonValue, reason: str) -> None:
    assert _reasons({"image": value}) == {"parameters.image": reason}


def test_file_ids_and_data_uris_are_taken() -> None:
    assert _reasons({"image": "data:image/png;name=a.png;base64,aGk="}) == {}
    assert validate_values(DEFINITIONS[5:6], {"image": FILE_ID.upper()}, {}).values == {"image": FILE_ID}


def test_lengths_of_strings_are_bounded() -> None:
    assert _reasons({"prompt": ""}) == {"parameters.prompt": "OUT_OF_RANGE"}
    assert _reasons({"prompt": "x" * 11}) == {"parameters.prompt": "OUT_OF_RANGE"}


def test_a_string_with_nul_is_refused_in_text_too() -> None:
    validated = validate_values(DEFINITIONS, {}, {"prompt": ["a\x00b"]})
    assert [violation.reason for violation in validated.violations] == ["BAD_STRING"]


def test_a_repeated_field_is_no_single_value() -> None:
    assert _reasons({}, {"seed": ["1", "2"]}) == {"parameters.seed": "WRONG_TYPE"}


def test_an_empty_list_does_not_satisfy_a_required_list() -> None:
    required = Parameter(key="sizes", type=ParameterType.INTEGER, multiple=True, required=True)
    assert [v.reason for v in validate_values([required], {"sizes": []}, {}).violations] == ["MISSING_PARAMETER"]
    assert [v.reason for v in validate_values([required], {}, {"sizes": []}).violations] == ["MISSING_PARAMETER"]


def test_defaults_fill_what_was_not_given() -> None:
    values = validate_values(DEFINITIONS, {"prompt": "cat"}, {}).values
    assert values == {"prompt": "cat"}
    assert with_defaults(DEFINITIONS, values) == {"prompt": "cat", "sampler": "euler"}
    assert with_defaults(DEFINITIONS, {"sampler": "ddim"}) == {"sampler": "ddim"}


@given(st.dictionaries(st.sampled_from([p.key for p in DEFINITIONS]) | st.text(max_size=3), JSON_VALUES))
def test_any_json_is_either_taken_or_named(typed: dict[str, JsonValue]) -> None:
    validated = validate_values(DEFINITIONS, typed, {})
    named = {violation.field.split(".", 1)[1].split("[")[0] for violation in validated.violations}
    for key in typed:
        assert (key in validated.values) != (key in named or key.split("[")[0] in named)


@given(st.dictionaries(st.sampled_from([p.key for p in DEFINITIONS]), st.lists(st.text(), max_size=3)))
def test_any_text_is_taken_or_named(text: dict[str, list[str]]) -> None:
    validated = validate_values(DEFINITIONS, {}, text)
    again = validate_values(DEFINITIONS, validated.values, {})
    assert all(violation.reason == "MISSING_PARAMETER" for violation in again.violations)
