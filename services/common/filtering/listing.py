"""One page of a filtered, ordered list: from the request's four strings to a statement, and from rows to a page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, and_, true

from services.common.errors import InvalidArgument, Violation
from services.common.filtering.clause import to_clause
from services.common.filtering.field import BadValue, FilterField
from services.common.filtering.grammar import parse_filter
from services.common.filtering.order import (
    OrderTerm,
    order_clauses,
    parse_order_by,
    position_from_json,
    position_to_json,
    seek_clause,
)
from services.common.filtering.page_token import PageToken, bad_page_token, query_hash

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000

Row = TypeVar("Row")
S = TypeVar("S", bound=Select[Any])


@dataclass(frozen=True, kw_only=True)
class Page(Generic[Row]):
    """Rows of one page."""

    rows: tuple[Row, ...]
    next_page_token: str = ""
    """Empty: this is the last page."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a list request asks, ready for a statement."""

    condition: ColumnElement[bool]
    """The filter, and what was seen already."""
    terms: tuple[OrderTerm, ...]
    order: tuple[ColumnElement[Any], ...]
    page_size: int
    query: str

    def apply(self, statement: S) -> S:
        """`statement` filtered, ordered and limited to one row more than the page, which tells whether it is the last.

        The caller adds the condition of the team.
        """
        return statement.where(self.condition).order_by(*self.order).limit(self.page_size + 1)

    def page(
        self,
        rows: Sequence[Row],
        position: Callable[[Row, str], Any],
        *,
        size_bytes: Callable[[Row], int] | None = None,
        max_bytes: int = 2 * 1024 * 1024,
    ) -> Page[Row]:
        """The page of what `apply` found; `position(row, field name)` reads the ordering fields.

        With `size_bytes` the page ends early (though never empty) before it outgrows `max_bytes`.
        """
        taken = list(rows[: self.page_size])
        if size_bytes is not None:
            total = 0
            for index, row in enumerate(taken):
                total += size_bytes(row)
                if total > max_bytes and index > 0:
                    del taken[index:]
                    break
        if len(taken) == len(rows):
            return Page(rows=tuple(taken))
        last = tuple(position_to_json(position(taken[-1], term.name)) for term in self.terms)
        return Page(rows=tuple(taken), next_page_token=PageToken(query=self.query, position=last).encode())


def parse_listing(
    *,
    fields: Mapping[str, FilterField],
    page_size: int,
    page_token: str,
    filter_text: str = "",
    order_by: str = "",
    default_order: str,
    tie_breaker: str,
    scope: str,
) -> Listing:
    """What the strings of a list request ask; InvalidArgument with all violations at once.

    `tie_breaker` names the unique, orderable field that is added to every order, in the direction of its last term.
    It may be in `fields` as any other. `scope` is what else the list depends on (team, parent): a token of another
    scope is refused.
    """
    violations: list[Violation] = []
    condition: ColumnElement[bool] = true()
    size, terms = DEFAULT_PAGE_SIZE, tuple[OrderTerm, ...]()
    try:
        size = checked_page_size(page_size)
    except InvalidArgument as error:
        violations.extend(error.violations)
    try:
        condition = to_clause(parse_filter(filter_text), fields)
    except InvalidArgument as error:
        violations.extend(error.violations)
    try:
        terms = parse_order_by(order_by, fields, default=default_order)
        if all(term.name != tie_breaker for term in terms):
            terms = (*terms, OrderTerm(name=tie_breaker, descending=terms[-1].descending))
    except InvalidArgument as error:
        violations.extend(error.violations)
    if violations:
        raise InvalidArgument(violations=violations)
    query = query_hash(scope, filter_text.strip(), repr(terms))
    if page_token:
        condition = and_(condition, _after(page_token, query, terms, fields))
    return Listing(
        condition=condition, terms=terms, order=tuple(order_clauses(terms, fields)), page_size=size, query=query
    )


def checked_page_size(page_size: int) -> int:
    """0 is the default, more than the most is the most, a negative one INVALID_ARGUMENT (AIP-158)."""
    if page_size < 0:
        message = f"Give a page size of 1 to {MAX_PAGE_SIZE}, or none."
        raise InvalidArgument(violations=[Violation("page_size", "BAD_PAGE_SIZE", message)])
    return min(page_size, MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE


def _after(
    page_token: str, query: str, terms: tuple[OrderTerm, ...], fields: Mapping[str, FilterField]
) -> ColumnElement[bool]:
    token = PageToken.decode(page_token, query=query)
    try:
        position = [
            position_from_json(fields[term.name], value) for term, value in zip(terms, token.position, strict=True)
        ]
    except (BadValue, ValueError) as error:
        raise bad_page_token("Give a page token as it was given.") from error
    return seek_clause(terms, fields, position)
