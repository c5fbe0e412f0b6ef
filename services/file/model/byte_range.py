"""The part of a file that a reader wants."""

from dataclasses import dataclass

from services.common.errors import InvalidArgument, OutOfRange, Violation


@dataclass(frozen=True, kw_only=True)
class ByteRange:
    """`length` bytes from `offset` on, both inside of the file."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """Place behind its last byte."""
        return self.offset + self.length

    def is_whole(self, size_bytes: int) -> bool:
        """Whether it is all of a file of that size."""
        return self.length == size_bytes


def byte_range(*, offset: int, length: int, size_bytes: int) -> ByteRange:
    """The range asked for, cut at the end of the file; `length` 0 means to the end.

    InvalidArgument for negative numbers, OutOfRange OFFSET_PAST_END if the file ends before `offset`.
    """
    given = (("offset", offset), ("length", length))
    violations = [Violation(name, "NEGATIVE", "Give 0 or more.") for name, number in given if number < 0]
    if violations:
        raise InvalidArgument(violations=violations)
    if offset > size_bytes:
        raise OutOfRange(
            f"The file has {size_bytes} bytes; give an offset up to that.",
            reason="OFFSET_PAST_END",
            metadata={"size_bytes": str(size_bytes)},
        )
    left = size_bytes - offset
    return ByteRange(offset=offset, length=min(length, left) if length else left)
