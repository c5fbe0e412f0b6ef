"""JSON answers: written by orjson, which keeps every integer from -2^63 to 2^64-1 exact, as our parser takes them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from starlette.responses import Response

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    """A Timestamp field as RFC 3339 in UTC; None where absent. As protobuf writes it, in a third of the time."""
    if not message.HasField(field):
        return None
    time: Timestamp = getattr(message, field)
    second, nanos = _second(time.seconds), time.nanos
    if nanos == 0:
        return second + "Z"
    if nanos % 1000:
        return f"{second}.{nanos:09d}Z"
    return f"{second}.{nanos // 1000:06d}Z" if nanos % 1_000_000 else f"{second}.{nanos // 1_000_000:03d}Z"


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    """Seconds since 1970 as a date and a time. Those of a run lie close together: few of them are new."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


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
