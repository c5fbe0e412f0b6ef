"""Questions to JSON columns that SQLite and PostgreSQL answer alike."""

from typing import Any

from sqlalchemy import Boolean, Integer, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class JsonListHas(FunctionElement[bool]):
    """`JsonListHas(column, text)`: whether a JSON list of strings holds `text`."""

    name = "json_list_has"
    type = Boolean()
    inherit_cache = True


class JsonListSize(FunctionElement[int]):
    """`JsonListSize(column)`: how many items a JSON list has."""

    name = "json_list_size"
    type = Integer()
    inherit_cache = True


class JsonMapValue(FunctionElement[str]):
    """`JsonMapValue(column, key)`: the string under `key` of a JSON object, NULL if there is none."""

    name = "json_map_value"
    type = String()
    inherit_cache = True


def _arguments(element: FunctionElement[Any], compiler: SQLCompiler, options: dict[str, Any]) -> list[str]:
    return [compiler.process(clause, **options) for clause in element.clauses]


@compiles(JsonListHas, "sqlite")
def _list_has_sqlite(element: JsonListHas, compiler: SQLCompiler, **options: Any) -> str:
    column, text = _arguments(element, compiler, options)
    return f"EXISTS (SELECT 1 FROM json_each({column}) AS item WHERE item.value = {text})"  # noqa: S608 # compiled


@compiles(JsonListHas, "postgresql")
def _list_has_postgresql(element: JsonListHas, compiler: SQLCompiler, **options: Any) -> str:
    column, text = _arguments(element, compiler, options)
    return f"(CAST({column} AS JSONB) @> jsonb_build_array(CAST({text} AS TEXT)))"


@compiles(JsonListSize, "sqlite")
def _list_size_sqlite(element: JsonListSize, compiler: SQLCompiler, **options: Any) -> str:
    (column,) = _arguments(element, compiler, options)
    return f"json_array_length({column})"


@compiles(JsonListSize, "postgresql")
def _list_size_postgresql(element: JsonListSize, compiler: SQLCompiler, **options: Any) -> str:
    (column,) = _arguments(element, compiler, options)
    return f"jsonb_array_length(CAST({column} AS JSONB))"


@compiles(JsonMapValue, "sqlite")
def _map_value_sqlite(element: JsonMapValue, compiler: SQLCompiler, **options: Any) -> str:
    column, key = _arguments(element, compiler, options)
    return f"(SELECT item.value FROM json_each({column}) AS item WHERE item.key = {key})"  # noqa: S608 # compiled


@compiles(JsonMapValue, "postgresql")
def _map_value_postgresql(element: JsonMapValue, compiler: SQLCompiler, **options: Any) -> str:
    column, key = _arguments(element, compiler, options)
    return f"(CAST({column} AS JSONB) ->> CAST({key} AS TEXT))"
