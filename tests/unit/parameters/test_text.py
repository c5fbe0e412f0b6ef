"""Text becomes the declared type, exactly or not at all."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.common.json_bytes import JsonValue, canonical_json
from services.common.parameters import BadText, Parameter, ParameterType, text_of_value, value_of_text


def _parameter(kind: ParameterType, **more: tuple[JsonValue, ...]) -> Parameter:
    return Parameter(key="p", type=kind, **more)  # type: ignore[arg-type]


@given(st.integers(-(2**63), 2**64 - 1))
@example(18446744073709551615)
@example(9007199254740993)
@example(-(2**63))
def test_every_64_bit_integer_survives_as_text(number: int) -> None:
    for kind in (ParameterType.INTEGER, ParameterType.NUMBER, ParameterType.JSON):
        value = value_of_text(_parameter(kind), str(number))
        assert type(value) is int
        assert value == number
        assert canonical_json(value).decode() == str(number)


@pytest.mark.parametrize("text", ["18446744073709551616", "-9223372036854775809", "9" * 64])
def test_an_integer_beyond_64_bits_is_out_of_range(text: str) -> None:
    with pytest.raises(BadText) as refused:
        value_of_text(_parameter(ParameterType.INTEGER), text)
    assert refused.value.reason == "OUT_OF_RANGE"


@pytest.mark.parametrize("text", ["", " ", "7.0", "1e3", "1_000", "٧", "0x10", "seven", "--1", "NaN", "9" * 5000])
def test_other_text_is_no_integer(text: str) -> None:
    with pytest.raises(BadText):
        value_of_text(_parameter(ParameterType.INTEGER), text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_survives_as_text(number: float) -> None:
    value = value_of_text(_parameter(ParameterType.NUMBER), repr(number))
    assert isinstance(value, float)
    assert value == number


@pytest.mark.parametrize("text", ["", ".", "e5", "inf", "nan", "1e400", "1,5", "1_0.5"])
def test_other_text_is_no_number(text: str) -> None:
    with pytest.raises(BadText):
        value_of_text(_parameter(ParameterType.NUMBER), text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("1", True), ("on", True), ("ON", True), ("false", False), ("0", False), ("off", False)],
)
def test_the_six_words_are_booleans(text: str, value: bool) -> None:
    assert value_of_text(_parameter(ParameterType.BOOLEAN), text) is value


@pytest.mark.parametrize("text", ["", "yes", "no", "2", "t"])
def test_other_words_are_no_booleans(text: str) -> None:
    with pytest.raises(BadText):
        value_of_text(_parameter(ParameterType.BOOLEAN), text)


def test_strings_are_kept_as_they_are() -> None:
    assert value_of_text(_parameter(ParameterType.STRING), " a\n ") == " a\n "


def test_text_chooses_options_of_any_type_and_strings_first() -> None:
    select = _parameter(ParameterType.SELECT, options=(8, "8", 1.5, True))
    assert value_of_text(select, "8") == "8"
    assert value_of_text(select, "1.5") == 1.5
    assert value_of_text(select, "true") is True


def test_json_text_is_parsed_strictly() -> None:
    assert value_of_text(_parameter(ParameterType.JSON), '{"a": [1, null]}') == {"a": [1, None]}
    for text in ("{", "NaN", '{"a": 1, "a": 2}', "[" * 100 + "]" * 100):
        with pytest.raises(BadText) as refused:
            value_of_text(_parameter(ParameterType.JSON), text)
        assert refused.value.reason == "NOT_JSON"


@given(st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.lists(st.integers(0, 9))))
def test_text_of_a_value_is_read_back(value: JsonValue) -> None:
    assert value_of_text(_parameter(ParameterType.JSON), text_of_value(value)) == value
