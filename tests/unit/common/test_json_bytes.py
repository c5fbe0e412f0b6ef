"""Strict parsing and canonical writing of JSON."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.json_bytes import InvalidJson, JsonValue, canonical_json, parse_json

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)
_KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
_VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=20
)


@given(_VALUES)
def test_canonical_bytes_are_read_back_as_the_same_value(value: JsonValue) -> None:
    written = canonical_json(value)
    again = parse_json(written, max_bytes=10**6)
    assert again == value
    assert canonical_json(again) == written


@pytest.mark.parametrize("seed", [0, 2**60 + 1, 2**63, 2**64 - 1, -(2**63)])
def test_64_bit_integers_are_exact(seed: int) -> None:
    parsed = parse_json(f'{{"seed": {seed}}}', max_bytes=100)
    assert parsed == {"seed": seed}
    assert canonical_json(parsed) == b'{"seed":%d}' % seed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "SYNTAX"),
        ("{", "SYNTAX"),
        ("[1,]", "SYNTAX"),
        ("\ufeff1", "SYNTAX"),
        ("NaN", "NOT_A_NUMBER"),
        ("[-Infinity]", "NOT_A_NUMBER"),
        ("1e999", "NOT_A_NUMBER"),
        ("18446744073709551616", "INTEGER_RANGE"),
        ("-9223372036854775809", "INTEGER_RANGE"),
        ("9" * 50_000, "INTEGER_RANGE"),
        ('{"a":1,"a":2}', "DUPLICATE_KEY"),
        ('"\\u0000"', "BAD_STRING"),
        ('{"\\u0000":1}', "BAD_STRING"),
        ('["\\ud800"]', "BAD_STRING"),
        ('"\ud800"', "BAD_STRING"),
        ("[" * 65 + "]" * 65, "TOO_DEEP"),
        ("[" * 50_000, "TOO_DEEP"),
        ('"' + "x" * 100_000 + '"', "TOO_LARGE"),
    ],
)
def test_what_json_does_not_allow_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidJson) as refused:
        parse_json(text, max_bytes=60_000)
    assert refused.value.reason == reason


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(InvalidJson) as refused:
        parse_json(b'"\xff"', max_bytes=100)
    assert refused.value.reason == "NOT_UTF8"


def test_the_path_leads_to_the_bad_string() -> None:
    with pytest.raises(InvalidJson) as refused:
        parse_json('{"6": {"inputs": [1, "a\\u0000"]}}', max_bytes=100)
    assert refused.value.path == "$.6.inputs[1]"


def test_64_levels_are_taken() -> None:
    assert parse_json("[" * 64 + "]" * 64, max_bytes=1000) is not None


def test_canonical_json_refuses_not_a_number() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json([float("nan")])
