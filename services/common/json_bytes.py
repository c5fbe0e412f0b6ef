"""JSON that ComfyUI or a caller owns: parsed strictly, written canonically, 64-bit integers exact.

Python's own parser accepts NaN, duplicate keys and lone surrogates, faster ones turn large integers into floats:
neither may happen to a seed, or to a graph that two rooms hash.
"""

import json
import math
import re
from typing import Any, NoReturn

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

MIN_INTEGER = -(2**63)
MAX_INTEGER = 2**64 - 1

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_INTEGER_DIGITS = len(str(MIN_INTEGER))


class InvalidJson(ValueError):
    """Bytes that are not JSON as we take it."""

    def __init__(self, message: str, *, reason: str, path: str = "$") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        """TOO_LARGE, NOT_UTF8, SYNTAX, TOO_DEEP, NOT_A_NUMBER, INTEGER_RANGE, DUPLICATE_KEY or BAD_STRING."""
        self.path = path
        """Where, as `$.nodes.6[0]`; `$` where the parser does not know."""


def parse_json(data: bytes | str, *, max_bytes: int, max_depth: int = 64) -> JsonValue:
    """The value of `data`, or `InvalidJson`.

    Refuses more than `max_bytes` (UTF-8) or `max_depth` nested containers, NaN and infinities (1e999 too), integers
    outside [-2^63, 2^64-1], duplicate keys, and NUL or lone surrogates in any string (PostgreSQL stores neither).
    """
    value: JsonValue
    try:
        text = data.decode() if isinstance(data, bytes) else data
        size = len(data) if isinstance(data, bytes) else len(data.encode("utf-8", "surrogatepass"))
        if size > max_bytes:
            raise InvalidJson(f"The JSON has {size} bytes; at most {max_bytes} are taken.", reason="TOO_LARGE")
        value = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
        )
    except UnicodeDecodeError as error:
        raise InvalidJson(f"Byte {error.start} is not UTF-8.", reason="NOT_UTF8") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise InvalidJson(f"Not JSON at {place}: {error.msg}.", reason="SYNTAX") from None
    except RecursionError:
        raise _too_deep(max_depth) from None
    _check_depth(value, max_depth)
    if isinstance(data, str) or "\\u" in text:  # UTF-8 has no lone surrogates, and the parser refuses a bare NUL
        _check_strings(value)
    return value


def canonical_json(value: JsonValue) -> bytes:
    """`value` in its one form: sorted keys, no spaces, UTF-8, integers exact.

    ValueError for NaN, infinities and lone surrogates.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _check_depth(root: JsonValue, max_depth: int) -> None:
    """Refuse what nests too deep; level by level, since the depth is the caller's."""
    level: list[Any] = [root] if isinstance(root, dict | list) else []
    for _ in range(max_depth):
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, dict | list)
        ]
        if not level:
            return
    raise _too_deep(max_depth)


def _check_strings(root: JsonValue) -> None:
    """Refuse strings that the parser let through."""
    waiting: list[tuple[JsonValue, str]] = [(root, "$")]
    while waiting:
        value, path = waiting.pop()
        if isinstance(value, str):
            if _UNSTORABLE.search(value):
                raise InvalidJson("Strings may not hold NUL or a lone surrogate.", reason="BAD_STRING", path=path)
        elif isinstance(value, list):
            waiting.extend((item, f"{path}[{index}]") for index, item in enumerate(value))
        elif isinstance(value, dict):
            for key, item in value.items():
                if _UNSTORABLE.search(key):
                    raise InvalidJson("Keys may not hold NUL or a lone surrogate.", reason="BAD_STRING", path=path)
                waiting.append((item, f"{path}.{key}"))


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InvalidJson(f"The key {twice!r} stands twice in one object.", reason="DUPLICATE_KEY")
    return made


def _integer(text: str) -> int:
    # The length first: int() of a very long text is slow, and refused by Python beyond 4300 digits.
    number = int(text) if len(text) <= _INTEGER_DIGITS else MAX_INTEGER + 1
    if not MIN_INTEGER <= number <= MAX_INTEGER:
        raise InvalidJson("Integers lie between -2^63 and 2^64-1.", reason="INTEGER_RANGE")
    return number


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise InvalidJson("A number is too large for a double.", reason="NOT_A_NUMBER")
    return number


def _constant(text: str) -> NoReturn:
    raise InvalidJson(f"{text} is not JSON.", reason="NOT_A_NUMBER")


def _too_deep(max_depth: int) -> InvalidJson:
    return InvalidJson(f"More than {max_depth} containers stand inside one another.", reason="TOO_DEEP")
