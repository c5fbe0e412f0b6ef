"""The order of a list: `order_by`, and where a page goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, or_

from services.common.errors import InvalidArgument, Violation
from services.common.filtering.field import BadValue, FieldKind, FilterField, moment_of_text
from services.common.json_bytes import JsonValue

MAX_TERMS = 4


@dataclass(frozen=True, kw_only=True)
class OrderTerm:
    """One field to order by."""

    name: str
    descending: bool = False


def parse_order_by(text: str, fields: Mapping[str, FilterField], *, default: str) -> tuple[OrderTerm, ...]:
    """The terms of `text`, such as `create_time desc, slug`, or of `default` where it is empty.

    InvalidArgument BAD_ORDER for a field that lists cannot be ordered by.
    """
    terms: list[OrderTerm] = []
    for part in (text.strip() or default).split(","):
        name, *direction = part.split()[:3] or [""]
        known = name in fields and fields[name].orderable
        if not known or direction not in ([], ["asc"], ["desc"]) or any(term.name == name for term in terms):
            names = ", ".join(sorted(key for key, field in fields.items() if field.orderable))
            raise _bad_order(f"Give {names}, each once, with ' desc' after it to turn it round.")
        terms.append(OrderTerm(name=name, descending=direction == ["desc"]))
    if len(terms) > MAX_TERMS:
        raise _bad_order(f"Give at most {MAX_TERMS} fields.")
    return tuple(terms)


def order_clauses(terms: Sequence[OrderTerm], fields: Mapping[str, FilterField]) -> list[ColumnElement[Any]]:
    """The ORDER BY of `terms`."""
    return [fields[t.name].column.desc() if t.descending else fields[t.name].column.asc() for t in terms]


def seek_clause(
    terms: Sequence[OrderTerm], fields: Mapping[str, FilterField], position: Sequence[Any]
) -> ColumnElement[bool]:
    """What comes after `position`, the values of `terms` in the last row seen; the terms must tell rows apart."""
    alternatives: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for term, value in zip(terms, position, strict=True):
        column = fields[term.name].column
        alternatives.append(and_(*equal, column < value if term.descending else column > value))
        equal.append(column == value)
    return or_(*alternatives)


def position_to_json(value: Any) -> JsonValue:
    """A value of an ordering column as it stands in a page token."""
    return value.isoformat() if isinstance(value, datetime) else value


def position_from_json(field: FilterField, value: JsonValue) -> Any:
    """Back from a page token; `BadValue` if the token was tampered with."""
    if field.kind is FieldKind.TIME and isinstance(value, str):
        return moment_of_text(value)
    if field.kind is FieldKind.INTEGER and isinstance(value, int):
        return field.read(str(value))
    if field.kind is FieldKind.NUMBER and isinstance(value, int | float):
        return float(value)
    if field.kind is FieldKind.TEXT and isinstance(value, str):
        return value
    raise BadValue("Give a page token as it was given.")


def _bad_order(message: str) -> InvalidArgument:
    return InvalidArgument(violations=[Violation("order_by", "BAD_ORDER", message)])
