"""Filters become trees, or are refused with the place."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidArgument
from services.common.filtering import (
    Comparison,
    Conjunction,
    Disjunction,
    Expression,
    Negation,
    Operator,
    parse_filter,
)


def _is(path: str, value: str, operator: Operator = Operator.EQUAL) -> Comparison:
    return Comparison(path=path, operator=operator, parts=tuple(value.split("*")))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", Conjunction(expressions=())),
        ("  ", Conjunction(expressions=())),
        ("a = 1", _is("a", "1")),
        ("a=-3", _is("a", "-3")),
        ("a != b", _is("a", "b", Operator.NOT_EQUAL)),
        ("t>=2026-01-31T12:00:00.5+02:00", _is("t", "2026-01-31T12:00:00.5+02:00", Operator.GREATER_OR_EQUAL)),
        ("t < 2026-01-31", _is("t", "2026-01-31", Operator.LESS)),
        ("labels.env:prod", _is("labels.env", "prod", Operator.HAS)),
        ('labels."my key" = x', _is("labels.my key", "x")),
        ("tags:*", _is("tags", "*", Operator.HAS)),
        ('a = "x y*"', _is("a", "x y*")),
        (r'a = "say \"hi\" \\ \*"', Comparison(path="a", operator=Operator.EQUAL, parts=('say "hi" \\ *',))),
        ("a = 'AND'", _is("a", "AND")),
        ("ANDROID = AND", _is("ANDROID", "AND")),
        ("NOT a = 1", Negation(expression=_is("a", "1"))),
        ("-a = 1", Negation(expression=_is("a", "1"))),
        ("a=1 b=2", Conjunction(expressions=(_is("a", "1"), _is("b", "2")))),
        (
            "a=1 AND b=2 OR c=3",
            Conjunction(expressions=(_is("a", "1"), Disjunction(expressions=(_is("b", "2"), _is("c", "3"))))),
        ),
        (
            "(a=1 AND b=2) OR c=3",
            Disjunction(expressions=(Conjunction(expressions=(_is("a", "1"), _is("b", "2"))), _is("c", "3"))),
        ),
    ],
)
def test_a_filter_is_read(text: str, tree: Expression) -> None:
    assert parse_filter(text) == tree


@pytest.mark.parametrize(
    "text",
    [
        "word", "a =", "= 1", "a = 1 AND", "AND a = 1", "a = (b)", "f(x)", "a == 1", 'a = "x', "(a = 1", "a = 1)",
        "a = 1 OR OR b = 2", "a\x00 = 1", "a = 1 " * 400, "(" * 33 + "a=1" + ")" * 33, "NOT NOT", "a & b", "\\",
    ],
)  # fmt: skip
def test_anything_else_is_refused_by_field(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_filter(text)
    assert [(v.field, v.reason) for v in refused.value.violations] == [("filter", "BAD_FILTER")]


@given(st.text(alphabet=st.sampled_from('ab1 ="\\.:()-*<>!ANDORT\n')) | st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        parse_filter(text)
