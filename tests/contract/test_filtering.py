"""Filters, order and pages mean the same on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import JSON, Column, select
from sqlmodel import Field, Session, SQLModel

from services.common.errors import InvalidArgument
from services.common.filtering import FieldKind, FilterField, Listing, parse_listing
from services.common.sql import Database, TableRegistry, UtcDateTime, open_database
from services.common.sql.address import DatabaseAddress
from services.common.sql.postgres import postgres_engine
from tests.servers.databases import Databases

tables = TableRegistry()
START = datetime(2026, 1, 1, tzinfo=UTC)


class ListedTable(SQLModel, registry=tables):
    """Tables of this suite."""


class Listed(ListedTable, table=True):
    __tablename__ = "listed"
    id: str = Field(primary_key=True)
    name: str
    note: str | None = None
    size: int
    ratio: float
    live: bool
    at: datetime = Field(sa_type=UtcDateTime)
    state: str
    tags: list[str] = Field(sa_column=Column(JSON, nullable=False))
    labels: dict[str, str] = Field(sa_column=Column(JSON, nullable=False))


columns: Any = Listed.__table__.c  # type: ignore[attr-defined]
FIELDS = {
    "id": FilterField(kind=FieldKind.TEXT, column=columns.id, orderable=True),
    "name": FilterField(kind=FieldKind.TEXT, column=columns.name, orderable=True),
    "note": FilterField(kind=FieldKind.TEXT, column=columns.note, nullable=True),
    "size": FilterField(kind=FieldKind.INTEGER, column=columns.size, orderable=True),
    "ratio": FilterField(kind=FieldKind.NUMBER, column=columns.ratio),
    "live": FilterField(kind=FieldKind.BOOLEAN, column=columns.live),
    "at": FilterField(kind=FieldKind.TIME, column=columns.at, orderable=True),
    "state": FilterField(kind=FieldKind.CHOICE, column=columns.state, choices={"RUNNING": "running", "DONE": "done"}),
    "tags": FilterField(kind=FieldKind.LIST, column=columns.tags),
    "labels": FilterField(kind=FieldKind.MAP, column=columns.labels),
}


def _rows() -> list[Listed]:
    return [
        Listed(
            id=f"{n:02}",
            name=["Red cat", "blue_dog", "100% fish", "owl"][n % 4],
            note=None if n % 2 else f"note {n}",
            size=n // 3,
            ratio=n / 2,
            live=n % 2 == 0,
            at=START + timedelta(hours=n),
            state="done" if n < 6 else "running",
            tags=["all", f"t{n}"] if n else [],
            labels={"env": "prod" if n < 4 else "test", "my key": "x"} if n else {},
        )
        for n in range(12)
    ]


@pytest_asyncio.fixture
async def database(databases: Databases) -> AsyncIterator[Database]:
    url = databases.empty("listed")
    address = DatabaseAddress.parse(url, room="public")
    if address.dialect == "postgresql":
        engine = postgres_engine(address)
        async with engine.begin() as connection:
            await connection.run_sync(tables.metadata.create_all)
        await engine.dispose()
    async with open_database(url=url, room="public") as opened:
        if address.dialect == "sqlite":
            await opened.write(lambda session: tables.metadata.create_all(session.connection()))
        await opened.write(lambda session: session.add_all(_rows()))
        yield opened


def _listing(filter_text: str = "", order_by: str = "", page_size: int = 0, page_token: str = "") -> Listing:
    return parse_listing(
        fields=FIELDS,
        page_size=page_size,
        page_token=page_token,
        filter_text=filter_text,
        order_by=order_by,
        default_order="id",
        tie_breaker="id",
        scope="test",
    )


async def _found(database: Database, listing: Listing) -> list[str]:
    def read(session: Session) -> list[str]:
        return [str(row.id) for row in session.connection().execute(listing.apply(select(Listed.__table__)))]  # type: ignore[attr-defined]

    return await database.read(read)


@pytest.mark.parametrize(
    ("filter_text", "ids"),
    [
        ("", range(12)),
        ("size = 1", [3, 4, 5]),
        ("size >= 1 size < 3", [3, 4, 5, 6, 7, 8]),
        ("NOT size = 1", [0, 1, 2, 6, 7, 8, 9, 10, 11]),
        ("size = 0 OR size = 3", [0, 1, 2, 9, 10, 11]),
        ("ratio > 4.5", [10, 11]),
        ("live = true AND size = 0", [0, 2]),
        ("at > 2026-01-01T08:00:00Z", [9, 10, 11]),
        ('at <= "2026-01-01T03:00:00+02:00"', [0, 1]),
        ("at >= 2026-01-02", []),
        ("state = running", range(6, 12)),
        ("state != RUNNING", range(6)),
        ('name = "Red cat"', [0, 4, 8]),
        ('name = "red cat"', []),
        ("name = red*", [0, 4, 8]),
        ("name = *_*", [1, 5, 9]),
        (r'name = "100% *"', [2, 6, 10]),
        ("name:CAT", [0, 4, 8]),
        ('name:"%"', [2, 6, 10]),
        ("note:*", [0, 2, 4, 6, 8, 10]),
        ("NOT note:*", [1, 3, 5, 7, 9, 11]),
        ('note != "note 2"', [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ('NOT note = "note 2"', [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ("tags:t3", [3]),
        ("-tags:all", [0]),
        ("NOT tags:*", [0]),
        ("labels.env = prod", [1, 2, 3]),
        ("labels.env != prod", [0, 4, 5, 6, 7, 8, 9, 10, 11]),
        ("labels.env:test AND size = 3", [9, 10, 11]),
        ('NOT labels:"my key"', [0]),
        ('labels."my key":*', range(1, 12)),
        ('name = "\'; DROP TABLE listed; --"', []),
    ],
)
async def test_a_filter_finds_the_same_rows(database: Database, filter_text: str, ids: list[int]) -> None:
    assert await _found(database, _listing(filter_text)) == [f"{n:02}" for n in ids]


@pytest.mark.parametrize(
    "order_by", ["", "id desc", "size", "size desc", "size desc, at asc", "at desc", "name, id desc"]
)
async def test_pages_join_to_the_whole_list(database: Database, order_by: str) -> None:
    whole = await _found(database, _listing("", order_by))
    seen: list[str] = []
    token = ""
    while True:
        listing = _listing("", order_by, page_size=5, page_token=token)

        def read(session: Session, listing: Listing = listing) -> list[Any]:
            return list(session.connection().execute(listing.apply(select(Listed.__table__))))  # type: ignore[attr-defined]

        page = listing.page(await database.read(read), getattr)
        seen += [row.id for row in page.rows]
        token = page.next_page_token
        if not token:
            break
        assert len(page.rows) == 5
    assert seen == whole
    assert len(seen) == 12


def test_a_page_ends_before_it_is_too_large() -> None:
    listing = _listing(page_size=10)
    page = listing.page(_rows(), getattr, size_bytes=lambda row: 40, max_bytes=100)
    assert len(page.rows) == 2
    assert page.next_page_token
    assert len(listing.page(_rows(), getattr, size_bytes=lambda row: 4000, max_bytes=100).rows) == 1


@pytest.mark.parametrize(
    ("filter_text", "order_by", "page_size", "fields"),
    [
        ("nope = 1", "", 0, ["filter"]),
        ("size = x", "", 0, ["filter"]),
        ("size = 9223372036854775808", "", 0, ["filter"]),
        ("size.x = 1", "", 0, ["filter"]),
        ("at > yesterday", "", 0, ["filter"]),
        ("at > 0001-01-01T00:00:00+14:00", "", 0, ["filter"]),
        ("ratio = nan", "", 0, ["filter"]),
        ("state = WALKING", "", 0, ["filter"]),
        ("state < DONE", "", 0, ["filter"]),
        ("live = 1", "", 0, ["filter"]),
        ("tags = x", "", 0, ["filter"]),
        ("labels = x", "", 0, ["filter"]),
        ("", "ratio", 0, ["order_by"]),
        ("", "size sideways", 0, ["order_by"]),
        ("", "size, size desc", 0, ["order_by"]),
        ("", "", -1, ["page_size"]),
        ("nope = 1", "nope", -1, ["page_size", "filter", "order_by"]),
    ],
)
def test_what_cannot_be_answered_is_refused_at_once(
    filter_text: str, order_by: str, page_size: int, fields: list[str]
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        _listing(filter_text, order_by, page_size)
    assert [violation.field for violation in refused.value.violations] == fields


def test_page_sizes_have_a_default_and_a_most() -> None:
    assert _listing().page_size == 50
    assert _listing(page_size=7).page_size == 7
    assert _listing(page_size=5000).page_size == 1000


def test_a_token_of_another_query_or_of_nobody_is_refused() -> None:
    token = _listing(page_size=2).page(_rows(), getattr).next_page_token
    assert _listing(page_size=3, page_token=token)
    for bad in ({"filter_text": "size = 1"}, {"order_by": "size"}, {"page_token": "x"}, {"page_token": "e30"}):
        with pytest.raises(InvalidArgument) as refused:
            _listing(**{"page_token": token, **bad})  # type: ignore[arg-type]
        assert [violation.reason for violation in refused.value.violations] == ["BAD_PAGE_TOKEN"]
