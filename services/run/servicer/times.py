"""Moments and spans as messages."""

from datetime import UTC, datetime, timedelta
from typing import overload

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400


@overload
def time_to_proto(moment: datetime) -> Timestamp: ...
@overload
def time_to_proto(moment: datetime | None) -> Timestamp | None: ...
def time_to_proto(moment: datetime | None) -> Timestamp | None:
    """A moment; None, which leaves a field absent, for none."""
    if moment is None:
        return None
    since = moment - _EPOCH
    return Timestamp(seconds=since.days * _DAY + since.seconds, nanos=since.microseconds * 1000)


def span_to_proto(span: timedelta) -> Duration:
    """A span of time."""
    whole = span.days * _DAY + span.seconds
    if span.days >= 0:
        return Duration(seconds=whole, nanos=span.microseconds * 1000)
    duration = Duration()
    duration.FromTimedelta(span)  # both parts of a negative one are negative
    return duration
