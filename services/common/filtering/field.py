"""The fields that a list can be filtered and ordered by."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from enum import StrEnum
from typing import Any

from services.common.filtering.expression import Operator

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
"""What a BIGINT column holds; more would be an error of the database."""

_EQUALITY = frozenset({Operator.EQUAL, Operator.NOT_EQUAL, Operator.HAS})
_ORDER = frozenset({Operator.LESS, Operator.LESS_OR_EQUAL, Operator.GREATER, Operator.GREATER_OR_EQUAL})


class FieldKind(StrEnum):
    """What a field holds, and so which operators it answers."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIME = "time"
    CHOICE = "choice"
    LIST = "list"
    MAP = "map"


OPERATORS: dict[FieldKind, frozenset[Operator]] = {
    FieldKind.TEXT: _EQUALITY | _ORDER,
    FieldKind.INTEGER: _EQUALITY | _ORDER,
    FieldKind.NUMBER: _EQUALITY | _ORDER,
    FieldKind.BOOLEAN: _EQUALITY,
    FieldKind.TIME: _EQUALITY | _ORDER,
    FieldKind.CHOICE: _EQUALITY,
    FieldKind.LIST: frozenset({Operator.HAS}),
    FieldKind.MAP: frozenset({Operator.HAS, Operator.EQUAL, Operator.NOT_EQUAL}),
}


class BadValue(ValueError):
    """Text that is no value of the field's kind; the message says what would be."""


@dataclass(frozen=True, kw_only=True)
class FilterField:
    """One field of a list, and the column that answers for it.

    `column` is a SQLAlchemy column or expression. A LIST or MAP column holds a JSON list of strings or a JSON object
    of strings, in a JSON or text column that is never NULL.
    """

    kind: FieldKind
    column: Any
    choices: Mapping[str, Any] = field(default_factory=dict)
    """Of a CHOICE: word of the filter, in capitals, to the column's value."""
    orderable: bool = False
    """Whether lists may be ordered by it; its column must then never be NULL."""
    nullable: bool = False
    """Whether the column may be NULL: then it equals nothing and differs from everything."""

    def read(self, text: str) -> Any:
        """The column's value that `text` spells; `BadValue` if it spells none."""
        match self.kind:
            case FieldKind.INTEGER:
                return _integer(text)
            case FieldKind.NUMBER:
                return _number(text)
            case FieldKind.BOOLEAN:
                if text.lower() not in ("true", "false"):
                    raise BadValue("Give true or false.")
                return text.lower() == "true"
            case FieldKind.TIME:
                return moment_of_text(text)
            case FieldKind.CHOICE:
                if text.upper() not in self.choices:
                    raise BadValue(f"Give one of {', '.join(self.choices)}.")
                return self.choices[text.upper()]
            case FieldKind.TEXT | FieldKind.LIST | FieldKind.MAP:
                return text


def moment_of_text(text: str) -> datetime:
    """An RFC 3339 time in UTC; a date alone is its midnight, UTC."""
    try:
        if len(text) == 10:
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise BadValue("Give an RFC 3339 time such as 2026-01-31T12:00:00Z.")


def _integer(text: str) -> int:
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) < 20 and MIN_INTEGER <= int(text) <= MAX_INTEGER:
        return int(text)
    raise BadValue("Give a whole number of at most 64 bits.")


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or "_" in text:
        raise BadValue("Give a number.")
    return number
