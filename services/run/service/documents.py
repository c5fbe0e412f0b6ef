"""The JSON of a request, read strictly."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.common.errors import Violation
from services.common.json_bytes import InvalidJson, JsonValue, parse_json
from services.run.model.new_run import NewRun

MAX_VALUES_BYTES = 16 * 1024 * 1024
"""Of parameters and of overrides, which may hold `data:` URIs; a message holds no more."""
MAX_EXTRA_BYTES = 1024 * 1024
MAX_METADATA_BYTES = 64 * 1024
PARTNER_KEYS = ("api_key_comfy_org", "auth_token_comfy_org")
"""Members of `extra_data` that are secrets."""

JsonObject = dict[str, JsonValue]


@dataclass(frozen=True, kw_only=True, slots=True)
class Documents:
    """The JSON of a request that is neither graph nor text; an empty object where none was given."""

    parameters: JsonObject
    overrides: JsonObject
    extra_data: JsonObject
    metadata: JsonObject
    violations: tuple[Violation, ...]


def read_documents(new: NewRun) -> Documents:
    """The documents of a request, and all that is wrong with them."""
    violations: list[Violation] = []

    def read(field: str, data: bytes, max_bytes: int) -> JsonObject:
        value, wrong = _object(field, data, max_bytes)
        violations.extend(wrong)
        return value

    parameters = read("parameters", new.parameters_json, MAX_VALUES_BYTES)
    overrides = read("overrides", new.overrides_json, MAX_VALUES_BYTES)
    extra_data = read("extra_data", new.extra_data_json, MAX_EXTRA_BYTES)
    metadata = read("metadata", new.metadata_json, MAX_METADATA_BYTES)
    violations.extend(_secrets(extra_data))
    return Documents(
        parameters=parameters,
        overrides=overrides,
        extra_data=extra_data,
        metadata=metadata,
        violations=tuple(violations),
    )


def _object(field: str, data: bytes, max_bytes: int) -> tuple[JsonObject, list[Violation]]:
    if not data:
        return {}, []
    try:
        value = parse_json(data, max_bytes=max_bytes)
    except InvalidJson as error:
        place = "" if error.path == "$" else f" At {error.path[:200]}."
        return {}, [Violation(field, error.reason, f"{error.message}{place}")]
    if not isinstance(value, dict):
        return {}, [Violation(field, "NOT_AN_OBJECT", "Give a JSON object.")]
    return value, []


def _secrets(extra_data: JsonObject) -> Iterator[Violation]:
    for key in PARTNER_KEYS:
        if key in extra_data:
            # Stored as plain extra data it would stand in rows and histories (EXECUTION A13).
            yield Violation(f"extra_data.{key}", "SECRET_NOT_TAKEN", "Leave it out: partner keys are not taken yet.")
