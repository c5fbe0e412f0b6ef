"""Moments and spans as messages."""

from datetime import datetime, timedelta
from typing import overload

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


@overload
def time_to_proto(moment: datetime) -> Timestamp: ...
@overload
def time_to_proto(moment: datetime | None) -> Timestamp | None: ...
def time_to_proto(moment: datetime | None) -> Timestamp | None:
    """A moment; None, which leaves a field absent, for none."""
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def span_to_proto(span: timedelta) -> Duration:
    """A span of time."""
    duration = Duration()
    duration.FromTimedelta(span)
    return duration
