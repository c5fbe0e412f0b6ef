"""Text to typed value, for the doors that know only text (forms, query strings)."""

import math
import re

from services.common.json_bytes import MAX_INTEGER, MIN_INTEGER, InvalidJson, JsonValue, canonical_json, parse_json
from services.common.parameters.definition import Parameter, ParameterType

MAX_JSON_BYTES = 8 * 1024 * 1024
MAX_JSON_DEPTH = 32

# ASCII digits only: int() would also take underscores and the digits of other scripts.
_INTEGER = re.compile(r"[+-]?[0-9]{1,64}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,6})?", re.ASCII)
_BOOLEANS = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}


class BadText(ValueError):
    """Text that does not spell a value of the declared type."""

    def __init__(self, message: str, *, reason: str = "WRONG_TYPE") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason


def value_of_text(parameter: Parameter, text: str) -> JsonValue:
    """The one value that `text` spells for `parameter` (an item of it, if `multiple`); `BadText` if it spells none.

    Integers from -2^63 to 2^64-1 are exact; spaces around numbers, booleans and JSON are ignored, those of strings are
    kept. Bounds are not looked at here.
    """
    match parameter.type:
        case ParameterType.INTEGER:
            return integer_of_text(text)
        case ParameterType.NUMBER:
            return number_of_text(text)
        case ParameterType.BOOLEAN:
            return boolean_of_text(text)
        case ParameterType.SELECT:
            return _option_of_text(parameter, text)
        case ParameterType.JSON:
            return _json_of_text(text)
        case ParameterType.STRING | ParameterType.FILE:
            return text


def integer_of_text(text: str) -> int:
    """A decimal integer from -2^63 to 2^64-1; `7.0` and `1e3` are none."""
    stripped = text.strip()
    if not _INTEGER.fullmatch(stripped):
        raise BadText("Give a whole number in decimal digits.")
    number = int(stripped)
    if not MIN_INTEGER <= number <= MAX_INTEGER:
        raise BadText("Give a whole number from -2^63 to 2^64-1.", reason="OUT_OF_RANGE")
    return number


def number_of_text(text: str) -> int | float:
    """A decimal number; one without point and exponent stays an exact integer."""
    stripped = text.strip()
    if _INTEGER.fullmatch(stripped):
        return integer_of_text(stripped)
    if not _NUMBER.fullmatch(stripped):
        raise BadText("Give a number in decimal digits.")
    number = float(stripped)
    if math.isinf(number):
        raise BadText("Give a number that a double can hold.", reason="OUT_OF_RANGE")
    return number


def boolean_of_text(text: str) -> bool:
    """`true`, `1`, `on` or `false`, `0`, `off`, in any case."""
    value = _BOOLEANS.get(text.strip().lower())
    if value is None:
        raise BadText("Give true or false (1, 0, on and off are taken too).")
    return value


def text_of_value(value: JsonValue) -> str:
    """The text that `value_of_text` turns back into `value`."""
    return value if isinstance(value, str) else canonical_json(value).decode()


def _option_of_text(parameter: Parameter, text: str) -> JsonValue:
    if text in parameter.options:
        return text
    for option in parameter.options:  # numbers and booleans, as JSON writes them
        if not isinstance(option, str) and text_of_value(option) == text.strip():
            return option
    return text  # not an option: said by the check of the value


def _json_of_text(text: str) -> JsonValue:
    try:
        return parse_json(text, max_bytes=MAX_JSON_BYTES, max_depth=MAX_JSON_DEPTH)
    except InvalidJson as error:
        raise BadText(f"Give JSON: {error.message}", reason="NOT_JSON") from None
