"""Names, headers, ranges, bindings and grants."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidArgument, NotFound, OutOfRange
from services.common.grant import RunGrant
from services.common.ids import new_id
from services.file.model.access import Access
from services.file.model.binding import accepts
from services.file.model.byte_range import ByteRange, byte_range
from services.file.model.file import Digest, File, Origin
from services.file.model.new_file import NewFile

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ORIGIN = Origin(run_id=new_id(), attempt=1, node_id="9", key="images", position=0)
GRANT = RunGrant(
    fleet_id="f",
    team_id="t",
    run_id=ORIGIN.run_id,
    attempt=1,
    input_ids=frozenset({"in"}),
    max_bytes=1,
    expires_at=NOW,
)
FILE = File(id="in", team_id="t", file_name="a", media_type="a/b", size_bytes=1, sha256="", blake3="", created_at=NOW)


@pytest.mark.parametrize(
    ("new", "fields"),
    [
        (NewFile(), []),
        (NewFile(file_name="é" * 127), []),
        (NewFile(file_name="é" * 128), ["header.file_name TOO_LONG"]),
        (NewFile(file_name="a\x00"), ["header.file_name NUL"]),
        (NewFile(file_name="\ud800"), ["header.file_name LONE_SURROGATE"]),
        (NewFile(request_id="r" * 129, media_type="\x00"), ["header.media_type NUL", "header.request_id TOO_LONG"]),
        (NewFile(size_bytes=-1, sha256="A" * 64), ["header.size_bytes NEGATIVE", "header.sha256 MALFORMED"]),
        (NewFile(origin=ORIGIN), []),
        (
            NewFile(origin=Origin(run_id="x", attempt=0, node_id="\x00", key="k" * 256, position=-1)),
            [
                "header.origin.node_id NUL",
                "header.origin.key TOO_LONG",
                "header.origin.run_id MALFORMED",
                "header.origin.attempt TOO_SMALL",
                "header.origin.position NEGATIVE",
            ],
        ),
    ],
)
def test_all_violations_of_a_header_are_named(new: NewFile, fields: list[str]) -> None:
    assert violations_of(new) == fields


def violations_of(new: NewFile) -> list[str]:
    try:
        new.check(max_file_bytes=10)
    except InvalidArgument as error:
        return [f"{each.field} {each.reason}" for each in error.violations]
    return []


def test_a_declared_size_is_held_against_the_limit() -> None:
    NewFile(size_bytes=10).check(max_file_bytes=10)
    with pytest.raises(OutOfRange):
        NewFile(size_bytes=11).check(max_file_bytes=10)


def test_a_request_is_told_from_another_by_everything_it_says() -> None:
    new = NewFile(file_name="a", media_type="b", request_id="r")
    hashes = {
        new.request_hash("1"),
        new.request_hash("2"),
        replace(new, file_name="ab", media_type="").request_hash("1"),
        replace(new, provisional=True).request_hash("1"),
    }
    assert len(hashes) == 4
    assert replace(new, request_id="other").request_hash("1") == new.request_hash("1")


def test_bytes_must_be_what_was_declared() -> None:
    digest = Digest(size_bytes=3, sha256="a" * 64, blake3="")
    NewFile(size_bytes=3, sha256="a" * 64).check_bytes(digest)
    with pytest.raises(InvalidArgument) as refused:
        NewFile(size_bytes=2, sha256="b" * 64).check_bytes(digest)
    assert len(refused.value.violations) == 2


@given(offset=st.integers(0, 100), length=st.integers(0, 100), size=st.integers(0, 100))
def test_a_range_is_the_slice_that_it_names(offset: int, length: int, size: int) -> None:
    content = bytes(size)
    if offset > size:
        with pytest.raises(OutOfRange):
            byte_range(offset=offset, length=length, size_bytes=size)
        return
    wanted = byte_range(offset=offset, length=length, size_bytes=size)
    expected = content[offset : offset + length] if length else content[offset:]
    assert content[wanted.offset : wanted.end] == expected
    assert wanted.length == len(expected)


def test_a_range_is_whole_when_nothing_is_missing() -> None:
    assert ByteRange(offset=0, length=5).is_whole(5)
    assert not ByteRange(offset=1, length=4).is_whole(5)


@pytest.mark.parametrize(
    ("patterns", "media_type", "accepted"),
    [
        ((), "a/b", True),
        (("*/*",), "a/b", True),
        (("*",), "a/b", True),
        (("image/*",), "image/png", True),
        (("image/*",), "video/mp4", False),
        (("video/*", "Image/PNG "), "image/png", True),
        (("image/pn",), "image/png", False),
        (("imag/*",), "image/png", False),
    ],
)
def test_patterns_admit_types(patterns: tuple[str, ...], media_type: str, accepted: bool) -> None:
    assert accepts(patterns, media_type) == accepted


def test_a_grant_opens_its_inputs_and_its_own_outputs() -> None:
    access = Access(team_id="t", grant=GRANT)
    other = replace(FILE, id="other")
    own_output = replace(other, origin=ORIGIN)
    earlier_output = replace(other, origin=replace(ORIGIN, attempt=2))
    assert [access.may_read(file) for file in (FILE, other, own_output)] == [True, False, False]
    assert [access.may_see(file) for file in (FILE, other, own_output, earlier_output)] == [True, False, True, False]
    team = Access(team_id="t")
    assert team.may_read(other)
    assert team.may_see(other)
    assert not Access(team_id="t", grant=replace(GRANT, input_ids=None)).may_read(FILE)


def test_a_grant_stores_its_own_outputs_only() -> None:
    access = Access(team_id="t", grant=GRANT)
    access.check_new(NewFile(origin=ORIGIN))
    Access(team_id="t").check_new(NewFile())
    for origin in (replace(ORIGIN, attempt=2), replace(ORIGIN, run_id=new_id())):
        with pytest.raises(NotFound):
            access.check_new(NewFile(origin=origin))
    for who, new in (
        (access, NewFile()),
        (access, NewFile(origin=ORIGIN, provisional=True)),
        (Access(team_id="t"), NewFile(origin=ORIGIN)),
    ):
        with pytest.raises(InvalidArgument):
            who.check_new(new)
