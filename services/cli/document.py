"""Contract messages as JSON documents for people and scripts."""

import base64
import json
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def document_of(message: Message) -> dict[str, Any]:
    """Returns the set fields under the contract's names.

    Integers stay integers (a seed of 2^64-1 too), times are RFC 3339, durations seconds, enum values their names
    without the prefix, in lower case, and `…_json` bytes are the JSON they hold, under the name without that ending.
    """
    document: dict[str, Any] = {}
    for field, value in message.ListFields():
        name = field.name.removesuffix("_json") if field.type == FieldDescriptor.TYPE_BYTES else field.name
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            values = entry.fields_by_name["value"]
            document[name] = {str(key): _value_of(values, item) for key, item in value.items()}
        elif field.is_repeated:
            document[name] = [_value_of(field, item) for item in value]
        else:
            document[name] = _value_of(field, value)
    return document


def _value_of(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if isinstance(value, Duration):
        return value.ToTimedelta().total_seconds()
    if isinstance(value, Message):
        return document_of(value)
    if field.enum_type is not None:
        return enum_word(field.enum_type.values_by_number[value].name, field.enum_type.name)
    if isinstance(value, bytes):
        return json.loads(value) if field.name.endswith("_json") and value else base64.b64encode(value).decode("ascii")
    return value


def enum_word(value_name: str, enum_name: str) -> str:
    """`RUN_STATE_TIMED_OUT` of `RunState` is `timed_out`."""
    prefix = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in enum_name).lstrip("_")
    return value_name.removeprefix(prefix + "_").lower()
