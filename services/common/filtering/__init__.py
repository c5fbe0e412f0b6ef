"""Filters (AIP-160), order and pages (AIP-158) of every list, over any room's columns."""

from services.common.filtering.clause import to_clause
from services.common.filtering.expression import (
    Comparison,
    Conjunction,
    Disjunction,
    Expression,
    Negation,
    Operator,
)
from services.common.filtering.field import FieldKind, FilterField
from services.common.filtering.grammar import parse_filter
from services.common.filtering.listing import Listing, Page, checked_page_size, parse_listing
from services.common.filtering.order import OrderTerm, order_clauses, parse_order_by, seek_clause
from services.common.filtering.page_token import PageToken, query_hash

__all__ = [
    "Comparison",
    "Conjunction",
    "Disjunction",
    "Expression",
    "FieldKind",
    "FilterField",
    "Listing",
    "Negation",
    "Operator",
    "OrderTerm",
    "Page",
    "PageToken",
    "checked_page_size",
    "order_clauses",
    "parse_filter",
    "parse_listing",
    "parse_order_by",
    "query_hash",
    "seek_clause",
    "to_clause",
]
