"""Byte ranges and entity tags."""

import pytest

from gateway.ranges import ByteRange, Unsatisfiable, matches, range_of


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 10)),
        ("bytes=4-", (4, 6)),
        ("bytes=-3", (7, 3)),
        ("bytes=-99", (0, 10)),
        ("BYTES = 1-2", (1, 2)),
    ],
)
def test_range_is_cut_to_what_there_is(header: str, expected: tuple[int, int]) -> None:
    assert range_of(header, 10) == ByteRange(offset=expected[0], length=expected[1])


@pytest.mark.parametrize("header", [None, "", "bytes=-", "bytes=5-4", "bytes=0-1,3-4", "items=0-1", "bytes=a-b"])
def test_malformed_and_multiple_ranges_mean_the_whole(header: str | None) -> None:
    assert range_of(header, 10) is None


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)])
def test_range_beyond_the_end_cannot_be_had(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        range_of(header, size)


def test_tags_match_by_name_or_by_star() -> None:
    assert matches('"a", W/"b"', "b")
    assert matches("*", "b")
    assert not matches('"a"', "b")
    assert not matches(None, "b")
