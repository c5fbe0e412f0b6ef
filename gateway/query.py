"""Query parameters and the few headers that steer a request, read strictly."""

import re
from collections.abc import Sequence

from starlette.requests import Request

from gateway.fields import INT32, INT64, Fields
from services.common.errors import InvalidArgument, Violation
from services.common.json_bytes import JsonValue

MAX_WAIT = 300
"""Seconds that `Prefer: wait` may ask for."""
MAX_KEY = 128

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=$|[,;])", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d{1,19}")
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


class Query(Fields):
    """The query of a request; an unknown or repeated parameter is a violation."""

    def __init__(self, request: Request, *, repeated: Sequence[str] = ()) -> None:
        values: dict[str, JsonValue] = {}
        twice: list[str] = []
        for key, value in request.query_params.multi_items():
            if key in values and key not in repeated:
                twice.append(key)
            values[key] = value
        super().__init__(values)
        for key in twice:
            self.refuse(key, "REPEATED", "Give it once.")

    def number(self, name: str, bounds: tuple[int, int] = INT32) -> int | None:
        """A whole number written in decimal."""
        text = self.text(name)
        if not text:
            return None
        if not _NUMBER.fullmatch(text) or not bounds[0] <= int(text) <= bounds[1]:
            self.refuse(name, "OUT_OF_RANGE", f"Send a whole number from {bounds[0]} to {bounds[1]}.")
            return None
        return int(text)

    def flag(self, name: str) -> bool | None:
        """`true` or `false`; `1`, `0` and the bare name too."""
        text = self.text(name)
        if text is None:
            return None
        if text.lower() in ("true", "1", ""):
            return True
        if text.lower() in ("false", "0"):
            return False
        self.refuse(name, "WRONG_TYPE", "Send true or false.")
        return None


def page(query: Query) -> tuple[int, str]:
    """`page_size` and `page_token`."""
    return query.number("page_size") or 0, query.text("page_token") or ""


def wait_seconds(request: Request) -> int:
    """Seconds of `Prefer: wait=N`, at most `MAX_WAIT`; 0 where the caller does not wait."""
    match = _WAIT.search(request.headers.get("prefer", ""))
    return min(int(match[1]), MAX_WAIT) if match else 0


def idempotency_key(request: Request) -> str:
    """The `Idempotency-Key`; empty where there is none. One in quotes (a structured field) is taken without them."""
    text = request.headers.get("idempotency-key")
    if text is None:
        return ""
    key = text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' else text
    if not key or len(key) > MAX_KEY or not _KEY.fullmatch(key):
        message = f"Send 1 to {MAX_KEY} printable ASCII characters."
        raise InvalidArgument(violations=[Violation("Idempotency-Key", "BAD_HEADER", message)])
    return key


def one_request_id(fields: Fields, key: str) -> str:
    """The request id of a creation: header and field mean the same and may not differ."""
    given = fields.text("request_id")
    if key and given and key != given:
        fields.refuse("request_id", "CONFLICT", "Leave it out, or make it equal to the Idempotency-Key header.")
    return key or given or ""


def last_event_id(request: Request, query: Query) -> int | None:
    """The cursor of an event stream: the header `Last-Event-ID`, else `after_sequence` or `last_event_id`."""
    asked = query.number("after_sequence", INT64)
    named = query.number("last_event_id", INT64)
    text = request.headers.get("last-event-id", "").strip()
    cursor = asked if asked is not None else named
    if text:
        if not _NUMBER.fullmatch(text):
            query.refuse("Last-Event-ID", "WRONG_TYPE", "Send the id of the last event seen.")
            return None
        cursor = int(text)
    if cursor is not None and not 0 <= cursor <= INT64[1]:
        query.refuse("after_sequence", "OUT_OF_RANGE", "Send the id of the last event seen, or 0.")
        return None
    return cursor
