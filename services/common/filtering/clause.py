"""A filter as a SQL condition over the fields of one list."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, false, func, not_, or_, true

from services.common.filtering.expression import (
    Comparison,
    Conjunction,
    Disjunction,
    Expression,
    Negation,
    Operator,
)
from services.common.filtering.field import OPERATORS, BadValue, FieldKind, FilterField
from services.common.filtering.grammar import bad_filter
from services.common.filtering.json_columns import JsonListHas, JsonListSize, JsonMapValue


def to_clause(expression: Expression, fields: Mapping[str, FilterField]) -> ColumnElement[bool]:
    """The condition that `expression` stands for; InvalidArgument BAD_FILTER for what `fields` cannot answer.

    Conditions are never NULL, so that NOT means what it says. `=` with `*` in a text, and `:` on a text (contains),
    ignore ASCII case; everything else is exact.
    """
    match expression:
        case Conjunction():
            return and_(true(), *(to_clause(inner, fields) for inner in expression.expressions))
        case Disjunction():
            return or_(false(), *(to_clause(inner, fields) for inner in expression.expressions))
        case Negation():
            return not_(to_clause(expression.expression, fields))
        case Comparison():
            return _comparison(expression, fields)


def _comparison(comparison: Comparison, fields: Mapping[str, FilterField]) -> ColumnElement[bool]:
    name, _, key = comparison.path.partition(".")
    field = fields.get(name)
    if field is None or (key and field.kind is not FieldKind.MAP):
        raise bad_filter(f"There is no field {comparison.path[:64]!r}; there are {', '.join(sorted(fields))}.")
    operators = OPERATORS[field.kind]
    if comparison.operator not in operators:
        raise bad_filter(f"The field {name} takes {', '.join(sorted(operators))}.")
    if field.kind is FieldKind.MAP:
        return _on_map(field, key, comparison)
    if comparison.operator is Operator.HAS and comparison.is_presence:
        return _presence(field)
    try:
        value = field.read(comparison.value)
    except BadValue as error:
        raise bad_filter(f"{name}: {error}") from None
    if field.kind is FieldKind.LIST:
        return JsonListHas(field.column, value)
    if field.kind is FieldKind.TEXT:
        return _on_text(field.column, comparison, nullable=field.nullable)
    return _scalar(field.column, comparison.operator, value, nullable=field.nullable)


def _presence(field: FilterField) -> ColumnElement[bool]:
    if field.kind is FieldKind.LIST:
        return JsonListSize(field.column) > 0
    if field.kind is FieldKind.TEXT:
        return and_(field.column.is_not(None), field.column != "")
    present: ColumnElement[bool] = field.column.is_not(None)
    return present


def _on_map(field: FilterField, key: str, comparison: Comparison) -> ColumnElement[bool]:
    if not key:  # `labels:env`: has that key
        if comparison.operator is not Operator.HAS or len(comparison.parts) > 1:
            raise bad_filter(f"Give a key: {comparison.path}.<key> = <value>, or {comparison.path}:<key>.")
        return JsonMapValue(field.column, comparison.value).is_not(None)
    value = JsonMapValue(field.column, key)
    if comparison.operator is Operator.HAS:
        if comparison.is_presence:
            return value.is_not(None)
        # `labels.env:prod` means equality: values of labels are words, not texts to search in
        comparison = Comparison(path=comparison.path, operator=Operator.EQUAL, parts=comparison.parts)
    return _on_text(value, comparison, nullable=True)


def _on_text(column: Any, comparison: Comparison, *, nullable: bool) -> ColumnElement[bool]:
    parts, operator = comparison.parts, comparison.operator
    if operator is Operator.HAS:
        parts = ("", *parts, "")
    elif operator not in (Operator.EQUAL, Operator.NOT_EQUAL) or len(parts) == 1:
        return _scalar(column, operator, comparison.value, nullable=nullable)
    pattern = "%".join(part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") for part in parts)
    like: ColumnElement[bool] = func.lower(column).like(func.lower(pattern), escape="\\")
    if nullable:
        like = and_(column.is_not(None), like)
    return not_(like) if operator is Operator.NOT_EQUAL else like


def _scalar(column: Any, operator: Operator, value: Any, *, nullable: bool) -> ColumnElement[bool]:
    if operator is Operator.NOT_EQUAL:
        return or_(column.is_(None), column != value) if nullable else column != value
    clause: ColumnElement[bool]
    match operator:
        case Operator.LESS:
            clause = column < value
        case Operator.LESS_OR_EQUAL:
            clause = column <= value
        case Operator.GREATER:
            clause = column > value
        case Operator.GREATER_OR_EQUAL:
            clause = column >= value
        case _:
            clause = column == value
    return and_(column.is_not(None), clause) if nullable else clause
