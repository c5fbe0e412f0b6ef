"""Small schemas that the component schemas are made of."""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
ID: Schema = {"type": "string", "format": "uuid"}
TIME: Schema = {"type": "string", "format": "date-time"}
DURATION: Schema = {"type": "string", "pattern": r"^\d+(\.\d{1,9})?s$", "example": "30s"}
WHOLE: Schema = {"type": "integer", "format": "int64"}
COUNT: Schema = {"type": "integer", "format": "int32"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
ANY: Schema = {}
TEXTS: Schema = {"type": "array", "items": TEXT}
JSON_OBJECT: Schema = {
    "type": "object",
    "additionalProperties": True,
    "description": "Integers from -2^63 to 2^64-1 are kept exactly.",
}
TEXT_MAP: Schema = {"type": "object", "additionalProperties": TEXT}


def ref(name: str) -> Schema:
    """A component schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(name: str) -> Schema:
    """A list of a component schema."""
    return {"type": "array", "items": ref(name)}


def words(*values: str) -> Schema:
    """One of some words."""
    return {"type": "string", "enum": list(values)}


def maybe(schema: Schema) -> Schema:
    """`schema`, or null where the value is absent."""
    return {"nullable": True, "allOf": [schema]} if "$ref" in schema else {**schema, "nullable": True}


def record(properties: Mapping[str, Schema]) -> Schema:
    """An answer: every property is there, except those under the names that end with `?`."""
    return {
        "type": "object",
        "properties": {name.rstrip("?"): schema for name, schema in properties.items()},
        "required": [name for name in properties if not name.endswith("?")],
    }


def request(properties: Mapping[str, Schema], *, required: tuple[str, ...] = ()) -> Schema:
    """A request: other properties are refused."""
    made: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    if required:
        made["required"] = list(required)
    return made


def page_of(field: str, name: str) -> Schema:
    """A page of a list."""
    return record({field: listed(name), "next_page_token": maybe(TEXT)})
