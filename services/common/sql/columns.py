"""Column types that mean the same on SQLite and PostgreSQL."""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from sqlalchemy import DateTime, Dialect, String
from sqlalchemy.types import TypeDecorator, TypeEngine


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: aware UTC datetimes in Python, `timestamptz` on PostgreSQL, UTC text on SQLite (which has no zones)."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        return dialect.type_descriptor(DateTime(timezone=dialect.name != "sqlite"))

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        # Straight to the text that SQLAlchemy would make of it, in a fifth of the time: rows are full of moments.
        return _moment_to_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        return _text_to_moment if dialect.name == "sqlite" else super().result_processor(dialect, coltype)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 # SQLAlchemy's
        return None if value is None else _utc(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 # SQLAlchemy's
        return None if value is None else value.astimezone(UTC)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("A moment needs a time zone.")
    return moment.astimezone(UTC)


def _moment_to_text(moment: datetime | None) -> str | None:
    return None if moment is None else _utc(moment).isoformat(" ", "microseconds")[:-6]


def _text_to_moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


class EnumText(TypeDecorator[Enum]):
    """A member of a `str`-valued enum, stored as its value: readable in the database, extended without a migration."""

    impl = String
    cache_ok = True

    def __init__(self, enum: type[Enum]) -> None:
        super().__init__()
        self.enum = enum

    def process_bind_param(self, value: Enum | str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 # SQLAlchemy's
        return None if value is None else str(self.enum(value).value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Enum | None:  # noqa: ARG002 # SQLAlchemy's
        return None if value is None else self.enum(value)

    @property
    def python_type(self) -> type[Any]:
        return self.enum
