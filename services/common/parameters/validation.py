"""The one validation of parameter values: every violation at once.

Two maps come in. Typed values (JSON, gRPC) are checked and never converted: a client that sends "20" or 20.0 for an
integer has a defect that would corrupt a 64-bit seed one day, so even an integral float is refused. Text values
(forms) are converted to the declared type first. A key may stand in one of the maps only.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.common.errors import Violation
from services.common.json_bytes import JsonValue
from services.common.parameters.definition import Parameter
from services.common.parameters.text import BadText, value_of_text
from services.common.parameters.value import Refused, checked_value

FIELD = "parameters"


@dataclass(frozen=True, kw_only=True)
class Validated:
    """What validation gives: the typed values that were given, and all that is wrong."""

    values: dict[str, JsonValue]
    """Given values by key, in the order of the definitions; only those without violations, and no defaults."""
    violations: tuple[Violation, ...]


def validate_values(
    definitions: Sequence[Parameter],
    typed: Mapping[str, JsonValue],
    text: Mapping[str, Sequence[str]],
) -> Validated:
    """Check the values of a run against the definitions of its workflow.

    Violations name `parameters.<key>`, and `parameters.<key>[<index>]` inside a list. Their reasons:
    UNKNOWN_PARAMETER, MISSING_PARAMETER, GIVEN_TWICE, WRONG_TYPE, OUT_OF_RANGE, NOT_AN_OPTION, NOT_JSON, BAD_STRING,
    BAD_FILE_REFERENCE, URL_NOT_TAKEN, WRONG_MEDIA_TYPE.
    """
    known = {parameter.key for parameter in definitions}
    violations = list(_unknown(known, [*typed, *(key for key in text if key not in typed)]))
    values: dict[str, JsonValue] = {}
    for parameter in definitions:
        key = parameter.key
        if key in typed and key in text:
            violations.append(_violation(key, "GIVEN_TWICE", "Give it typed or as text, not both."))
        elif key in typed:
            _take(parameter, typed[key], values, violations)
        elif key in text:
            _take_text(parameter, text[key], values, violations)
        elif parameter.required and parameter.default is None:
            violations.append(_missing(key))
    return Validated(values=values, violations=tuple(violations))


def with_defaults(definitions: Sequence[Parameter], values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """`values`, and the default of every definition that has one and no value."""
    filled = {p.key: p.default.value for p in definitions if p.default is not None}
    return {**filled, **values}


def _take(parameter: Parameter, value: JsonValue, values: dict[str, JsonValue], violations: list[Violation]) -> None:
    key = parameter.key
    if not parameter.multiple:
        try:
            values[key] = checked_value(parameter, value)
        except Refused as refused:
            violations.append(_violation(key, refused.reason, refused.message))
        return
    if not isinstance(value, list):
        violations.append(_violation(key, "WRONG_TYPE", "Give a list."))
        return
    if not value and parameter.required:
        violations.append(_missing(key))
        return
    items: list[JsonValue] = []
    for index, item in enumerate(value):
        try:
            items.append(checked_value(parameter, item))
        except Refused as refused:
            violations.append(_violation(f"{key}[{index}]", refused.reason, refused.message))
    if len(items) == len(value):
        values[key] = items


def _take_text(
    parameter: Parameter, texts: Sequence[str], values: dict[str, JsonValue], violations: list[Violation]
) -> None:
    key = parameter.key
    if not parameter.multiple and len(texts) != 1:
        if texts:
            violations.append(_violation(key, "WRONG_TYPE", "Give one value; it is no list."))
        elif parameter.required and parameter.default is None:
            violations.append(_missing(key))
        return
    spelt: list[JsonValue] = []
    for index, text in enumerate(texts):
        try:
            spelt.append(value_of_text(parameter, text))
        except BadText as bad:
            field = f"{key}[{index}]" if parameter.multiple else key
            violations.append(_violation(field, bad.reason, bad.message))
    if len(spelt) == len(texts):
        _take(parameter, spelt if parameter.multiple else spelt[0], values, violations)


def _unknown(known: set[str], given: Iterable[str]) -> Iterable[Violation]:
    for key in given:
        if key not in known:
            yield _violation(key, "UNKNOWN_PARAMETER", "The workflow has no such parameter.")


def _missing(key: str) -> Violation:
    return _violation(key, "MISSING_PARAMETER", "A value is required.")


def _violation(key: str, reason: str, message: str) -> Violation:
    return Violation(f"{FIELD}.{key}", reason, message)
