"""Statements of the hot path, whose text and conversions are worked out once."""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Dialect, Select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase
from sqlmodel import Session

DRIVER = "driver"
"""Key in a session's `info`: SQLite's own connection, on which the session's transaction has begun."""

_Convert = Callable[[Any], Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Text:
    """A statement as SQLite's driver takes it."""

    sql: str
    binds: tuple[tuple[str, bool, Any, _Convert], ...]
    """Of each parameter, in order: name, whether it is given at each execution, its value if not, and conversion."""
    row: Callable[..., Any]
    """A named tuple of the columns of an answer."""
    converts: tuple[tuple[int, Callable[[Any], Any]], ...]
    """Columns of an answer that need a conversion."""

    def parameters(self, values: Mapping[str, Any]) -> list[Any]:
        """The values in order, as they are stored."""
        found = []
        for name, is_given, constant, convert in self.binds:
            value = values[name] if is_given else constant
            found.append(value if convert is None else convert(value))
        return found

    def answer(self, stored: Sequence[Any]) -> Any:
        """One row of an answer."""
        row = list(stored)
        for place, convert in self.converts:
            row[place] = convert(row[place])
        return self.row(*row)


class Prepared:
    """A Core statement; its parameters are all named with `bindparam`, or are the columns of an INSERT of whole rows.

    SQLAlchemy takes some 80 µs for each execution, several times what SQLite takes. So in a session with a driver of
    its own (see `DRIVER`) that is called directly, with the text that SQLAlchemy made of the statement and with its
    conversions of types; elsewhere, where the way to the database costs more than that, the statement goes the usual
    way. Rows have their columns as attributes and `_asdict()`, either way. Lists in `IN` are not known here.
    """

    def __init__(self, statement: Select[Any] | UpdateBase) -> None:
        self._statement = statement
        self._text: _Text | None = None

    def all(self, session: Session, values: Mapping[str, Any]) -> Sequence[Any]:
        """All rows of the answer."""
        driver = session.info.get(DRIVER)
        if driver is None:
            return session.connection().execute(self._statement, values).all()
        text = self._text or self._prepare(session.get_bind().dialect)
        parameters = text.parameters(values)
        try:
            rows = driver.execute(text.sql, parameters).fetchall()
        except Exception as error:
            raise _wrapped(error, session, text.sql, parameters) from error
        return [text.answer(row) for row in rows]

    def first(self, session: Session, values: Mapping[str, Any]) -> Any | None:
        """The only row of the answer, or None."""
        rows = self.all(session, values)
        return rows[0] if rows else None

    def run(self, session: Session, values: Mapping[str, Any]) -> int:
        """Change something; how many rows were changed."""
        driver = session.info.get(DRIVER)
        if driver is None:
            return session.connection().execute(self._statement, values).rowcount
        text = self._text or self._prepare(session.get_bind().dialect)
        parameters = text.parameters(values)
        try:
            count: int = driver.execute(text.sql, parameters).rowcount
        except Exception as error:
            raise _wrapped(error, session, text.sql, parameters) from error
        return count

    def run_each(self, session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
        """Change something for each of `rows`."""
        driver = session.info.get(DRIVER)
        if driver is None:
            session.connection().execute(self._statement, list(rows))
            return
        text = self._text or self._prepare(session.get_bind().dialect)
        parameters = [text.parameters(row) for row in rows]
        try:
            driver.executemany(text.sql, parameters)
        except Exception as error:
            raise _wrapped(error, session, text.sql, parameters) from error

    def _prepare(self, dialect: Dialect) -> _Text:
        compiled = self._statement.compile(dialect=dialect)
        binds = []
        for name in compiled.positiontup or ():
            bind = compiled.binds[name]
            if bind.expanding:
                raise ValueError("A prepared statement has no lists.")
            binds.append((bind.key, bind.required, bind.value, bind.type.dialect_impl(dialect).bind_processor(dialect)))
        columns = list(self._statement.exported_columns)
        converts = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        self._text = _Text(
            sql=str(compiled),
            binds=tuple(binds),
            row=namedtuple("Row", [str(column.key) for column in columns]),
            converts=tuple((place, one) for place, one in enumerate(converts) if one is not None),
        )
        return self._text


def _wrapped(error: Exception, session: Session, sql: str, parameters: Any) -> BaseException:
    """The driver's error as SQLAlchemy's, which whoever catches it expects."""
    dialect = session.get_bind().dialect
    driver = dialect.dbapi
    if driver is None or not isinstance(error, driver.Error):
        return error
    return DBAPIError.instance(sql, parameters, error, driver.Error, dialect=dialect)
