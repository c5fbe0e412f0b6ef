"""`data:` URIs, the usual, the odd and the wrong ones."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidArgument
from services.file.model.data_uri import MAX_URI_BYTES, parse_data_uri


@pytest.mark.parametrize(
    ("uri", "media_type", "content"),
    [
        ("data:,", "text/plain", b""),
        ("data:,a%20b", "text/plain", b"a b"),
        ("DATA:text/html,<p>", "text/html", b"<p>"),
        ("data:text/plain;charset=utf-8;base64,aGk=", "text/plain", b"hi"),
        ("data:;base64,aGk", "text/plain", b"hi"),
        ("data:image/PNG;BASE64,aGk%3D", "image/png", b"hi"),
        ("data:image/png; base64 ,aG\nk=", "image/png", b"hi"),
        ("data:text/plain,a,b", "text/plain", b"a,b"),
        ("data:text/plain;base64x,a", "text/plain", b"a"),
    ],
)
def test_what_a_uri_holds(uri: str, media_type: str, content: bytes) -> None:
    parsed = parse_data_uri(uri)
    assert (parsed.media_type, parsed.content) == (media_type, content)


@given(st.binary(max_size=300))
def test_bytes_survive_both_encodings(content: bytes) -> None:
    assert parse_data_uri(f"data:x/y;base64,{base64.b64encode(content).decode()}").content == content
    assert parse_data_uri("data:x/y," + "".join(f"%{byte:02X}" for byte in content)).content == content


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("", "SCHEME"),
        ("http://a", "SCHEME"),
        (" data:,a", "SCHEME"),
        ("data:text/plain", "MALFORMED"),
        ("data:,%zz", "MALFORMED"),
        ("data:,%4", "MALFORMED"),
        ("data:,é", "MALFORMED"),
        ("data:,\ud800", "MALFORMED"),
        ("data:;base64,a", "MALFORMED"),
        ("data:;base64,!!!!", "MALFORMED"),
        ("data:," + "x" * MAX_URI_BYTES, "TOO_LONG"),
    ],
)
def test_what_is_wrong_is_refused(uri: str, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_data_uri(uri)
    assert [(each.field, each.reason) for each in refused.value.violations] == [("uri", reason)]
