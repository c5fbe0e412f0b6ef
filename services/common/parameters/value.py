"""One typed value against one definition."""

import re

from services.common.json_bytes import MAX_INTEGER, MIN_INTEGER, JsonValue, canonical_json
from services.common.parameters.definition import Parameter, ParameterType
from services.common.parameters.file_reference import (
    FileReferenceKind,
    canonical_file_id,
    data_media_type,
    file_reference_kind,
    media_type_accepted,
)

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_OPTIONS_SHOWN = 5


class Refused(ValueError):
    """A value that its definition does not allow."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def checked_value(parameter: Parameter, value: JsonValue) -> JsonValue:
    """`value` as it is to be stored, if `parameter` (an item of it, if `multiple`) allows it, else `Refused`."""
    match parameter.type:
        case ParameterType.STRING:
            text = _text(value)
            _check_bounds(parameter, len(text), " characters")
            return text
        case ParameterType.INTEGER:
            if isinstance(value, bool) or not isinstance(value, int):
                raise Refused("WRONG_TYPE", "Give a whole number, without quotes and without a fraction.")
            if not MIN_INTEGER <= value <= MAX_INTEGER:
                raise Refused("OUT_OF_RANGE", "Give a whole number from -2^63 to 2^64-1.")
            _check_bounds(parameter, value)
            return value
        case ParameterType.NUMBER:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise Refused("WRONG_TYPE", "Give a number, without quotes.")
            _check_bounds(parameter, value)
            return value
        case ParameterType.BOOLEAN:
            if not isinstance(value, bool):
                raise Refused("WRONG_TYPE", "Give true or false, without quotes.")
            return value
        case ParameterType.SELECT:
            return _option(parameter, value)
        case ParameterType.FILE:
            return _file(parameter, value)
        case ParameterType.JSON:
            return value


def _text(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise Refused("WRONG_TYPE", "Give a string.")
    if _UNSTORABLE.search(value):
        raise Refused("BAD_STRING", "Give a string without NUL and lone surrogates.")
    return value


def _check_bounds(parameter: Parameter, size: int | float, unit: str = "") -> None:
    low, high = parameter.minimum, parameter.maximum
    if (low is None or size >= low) and (high is None or size <= high):
        return
    if low is not None and high is not None:
        raise Refused("OUT_OF_RANGE", f"Give {low} to {high}{unit}.")
    raise Refused("OUT_OF_RANGE", f"Give at least {low}{unit}." if low is not None else f"Give at most {high}{unit}.")


def _option(parameter: Parameter, value: JsonValue) -> JsonValue:
    spelt = canonical_json(value)
    options = [canonical_json(option) for option in parameter.options]  # so that 1, 1.0 and true differ
    if spelt in options:
        return value
    shown = ", ".join(option.decode() for option in options[:_OPTIONS_SHOWN])
    more = f" or one of {len(options) - _OPTIONS_SHOWN} more" if len(options) > _OPTIONS_SHOWN else ""
    raise Refused("NOT_AN_OPTION", f"Give one of {shown[:300]}{more}.")


def _file(parameter: Parameter, value: JsonValue) -> str:
    if not isinstance(value, str):
        raise Refused("WRONG_TYPE", "Give a file as a string: its id, or a data: URI.")
    kind = file_reference_kind(value)
    if kind is FileReferenceKind.ID:
        return canonical_file_id(value)
    if kind is FileReferenceKind.URL:
        raise Refused(
            "URL_NOT_TAKEN", "Upload the file and give its id, or give a data: URI; URLs are not fetched yet."
        )
    if kind is None:
        raise Refused("BAD_FILE_REFERENCE", "Give the id of an uploaded file, or a data: URI.")
    if not media_type_accepted(parameter.accept, data_media_type(value)):
        raise Refused("WRONG_MEDIA_TYPE", f"Give a file of {' or '.join(parameter.accept)}.")
    return value
