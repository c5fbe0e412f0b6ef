"""Reads a JSON object field by field, strictly, and gathers everything that is wrong with it."""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from services.common.errors import InvalidArgument, Violation
from services.common.json_bytes import JsonValue, canonical_json

INT32 = (-(2**31), 2**31 - 1)
INT64 = (-(2**63), 2**63 - 1)

_DURATION = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?s")
_Item = TypeVar("_Item")


class Fields:
    """One JSON object of a request. Each reader returns the value, or None where the field is absent, null or wrong."""

    def __init__(
        self, body: Mapping[str, JsonValue], *, path: str = "", violations: list[Violation] | None = None
    ) -> None:
        self._body = body
        self._path = path
        self._read: set[str] = set()
        self.violations: list[Violation] = [] if violations is None else violations

    def refuse(self, name: str, reason: str, message: str) -> None:
        """Note something wrong with the field `name`."""
        self.violations.append(Violation(self._path + name, reason, message))

    def has(self, name: str) -> bool:
        """Whether the field is there, null too."""
        return name in self._body

    def text(self, name: str) -> str | None:
        """A string."""
        return self._typed(name, str, "a string")

    def boolean(self, name: str) -> bool | None:
        """True or false."""
        return self._typed(name, bool, "true or false")

    def integer(self, name: str, bounds: tuple[int, int]) -> int | None:
        """A whole number within `bounds`, both included."""
        value = self._take(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            self._wrong(name, "a whole number")
            return None
        if not bounds[0] <= value <= bounds[1]:
            self.refuse(name, "OUT_OF_RANGE", f"Send a whole number from {bounds[0]} to {bounds[1]}.")
            return None
        return value

    def json(self, name: str) -> bytes | None:
        """Any value but null, as canonical JSON bytes."""
        value = self._take(name)
        return None if value is None else canonical_json(value)

    def json_or_null(self, name: str) -> bytes | None:
        """Any value, null too, as canonical JSON bytes."""
        self._read.add(name)
        return canonical_json(self._body[name]) if name in self._body else None

    def json_list(self, name: str) -> list[bytes] | None:
        """A list of any values, each as canonical JSON bytes."""
        value = self._typed(name, list, "a list")
        return None if value is None else [canonical_json(item) for item in value]

    def ignore(self, name: str) -> None:
        """Take the field without reading it."""
        self._read.add(name)

    def object(self, name: str) -> bytes | None:
        """A JSON object as canonical JSON bytes."""
        value = self._typed(name, dict, "a JSON object")
        return None if value is None else canonical_json(value)

    def strings(self, name: str) -> list[str] | None:
        """A list of strings."""
        value = self._typed(name, list, "a list of strings")
        if value is None:
            return None
        if not all(isinstance(item, str) for item in value):
            self._wrong(name, "a list of strings")
            return None
        return value

    def string_map(self, name: str) -> dict[str, str] | None:
        """An object whose values are strings."""
        value = self._typed(name, dict, "an object of strings")
        if value is None:
            return None
        if not all(isinstance(item, str) for item in value.values()):
            self._wrong(name, "an object of strings")
            return None
        return value

    def duration(self, name: str) -> Duration | None:
        """Seconds as text with an `s`: `30s`, `1.5s`."""
        text = self.text(name)
        if text is None:
            return None
        match = _DURATION.fullmatch(text)
        if match is None:
            self._wrong(name, "seconds as text, such as `30s`")
            return None
        return Duration(seconds=int(match[1]), nanos=int((match[2] or "").ljust(9, "0")))

    def time(self, name: str) -> Timestamp | None:
        """A time of RFC 3339."""
        text = self.text(name)
        if text is None:
            return None
        time = Timestamp()
        try:
            time.FromJsonString(text)
        except (ValueError, OverflowError):
            self._wrong(name, "a time of RFC 3339, such as `2026-11-21T20:00:00Z`")
            return None
        return time

    def choice(self, name: str, words: Mapping[str, _Item]) -> _Item | None:
        """One of the lower-case `words`, in any case."""
        text = self.text(name)
        if text is None:
            return None
        if text.lower() not in words:
            self.refuse(name, "UNKNOWN_VALUE", f"Send one of {', '.join(sorted(words))}.")
            return None
        return words[text.lower()]

    def items(self, name: str, read: "Callable[[Fields], _Item]") -> list[_Item] | None:
        """A list of objects, each read by `read`."""
        value = self._typed(name, list, "a list of objects")
        if value is None:
            return None
        made = []
        for index, item in enumerate(value):
            path = f"{self._path}{name}[{index}]"
            if not isinstance(item, dict):
                self.violations.append(Violation(path, "WRONG_TYPE", "Send a JSON object."))
                continue
            fields = Fields(item, path=f"{path}.", violations=self.violations)
            made.append(read(fields))
            fields.refuse_unknown()
        return made

    def refuse_unknown(self) -> None:
        """Note every field that no reader asked for."""
        for name in self._body:
            if name not in self._read:
                self.refuse(name, "UNKNOWN_FIELD", "There is no such field.")

    def done(self) -> None:
        """InvalidArgument with everything that was wrong, unknown fields too."""
        self.refuse_unknown()
        if self.violations:
            raise InvalidArgument(violations=self.violations)

    def _take(self, name: str) -> JsonValue:
        self._read.add(name)
        return self._body.get(name)

    def _typed(self, name: str, cls: type[_Item], wanted: str) -> _Item | None:
        value = self._take(name)
        if value is None:
            return None
        if not isinstance(value, cls):
            self._wrong(name, wanted)
            return None
        return value

    def _wrong(self, name: str, wanted: str) -> None:
        self.refuse(name, "WRONG_TYPE", f"Send {wanted}.")
