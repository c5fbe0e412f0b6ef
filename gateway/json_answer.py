"""JSON answers: written by orjson, which keeps every integer from -2^63 to 2^64-1 exact, as our parser takes them."""

import json
from collections.abc import Mapping
from typing import Any

import orjson
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from starlette.responses import Response


def answer(body: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`body` as JSON."""
    return Response(
        encode(body), status_code=status, headers=dict(headers) if headers else None, media_type="application/json"
    )


def encode(body: Mapping[str, Any]) -> bytes:
    """`body` as JSON text. Numbers that are not finite become null."""
    return orjson.dumps(body)


def opaque(data: bytes) -> Any:
    """JSON bytes of the contract as a value; None where there are none. Python's parser: integers stay integers."""
    return json.loads(data) if data else None


def time_text(message: Any, field: str) -> str | None:
    """A Timestamp field as RFC 3339 in UTC; None where absent."""
    if not message.HasField(field):
        return None
    time: Timestamp = getattr(message, field)
    return time.ToJsonString()


def duration_text(message: Any, field: str) -> str | None:
    """A Duration field as seconds with an `s`, such as `30s` or `0.250s`; None where absent."""
    if not message.HasField(field):
        return None
    duration: Duration = getattr(message, field)
    return duration.ToJsonString()


def word(enum: Any, number: int, prefix: str) -> str | None:
    """An enum value as its lower-case word without the enum's name; None where not said."""
    if number == 0:
        return None
    try:
        name: str = enum.Name(number)
    except ValueError:  # a newer room's value
        return None
    return name.removeprefix(prefix).lower()
