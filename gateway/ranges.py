"""Byte ranges and entity tags of HTTP (RFC 9110, sections 13 and 14), for one range at a time."""

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,19})-(\d{0,19})", re.IGNORECASE)
_TAGS = re.compile(r'(?:W/)?"([^"]*)"')


@dataclass(frozen=True, kw_only=True)
class ByteRange:
    """`length` bytes from `offset` on."""

    offset: int
    length: int

    def content_range(self, size: int) -> str:
        """The `Content-Range` of an answer."""
        return f"bytes {self.offset}-{self.offset + self.length - 1}/{size}"


class Unsatisfiable(ValueError):
    """A range that lies beyond the end."""


def range_of(header: str | None, size: int) -> ByteRange | None:
    """The range asked for, cut to `size` bytes. None: the whole, also where the header is malformed or has several."""
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        length = min(int(match[2]), size)
        if length == 0:
            raise Unsatisfiable
        return ByteRange(offset=size - length, length=length)
    first = int(match[1])
    last = int(match[2]) if match[2] else size - 1
    if match[2] and last < first:
        return None
    if first >= size:
        raise Unsatisfiable
    return ByteRange(offset=first, length=min(last, size - 1) - first + 1)


def matches(header: str | None, tag: str) -> bool:
    """Whether `If-None-Match` or `If-Match` names the entity tag `tag` (given without quotes)."""
    if header is None:
        return False
    return header.strip() == "*" or tag in _TAGS.findall(header)
