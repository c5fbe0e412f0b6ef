"""What type a file is said to be, and what its bytes say."""

import pytest

from services.file.model.media_type import HEAD_BYTES, media_type_of

PNG = b"\x89PNG\r\n\x1a\n...."
MP4 = b"\x00\x00\x00\x18ftypisom...."


@pytest.mark.parametrize(
    ("claimed", "file_name", "head", "expected"),
    [
        ("image/png", "a", PNG, "image/png"),
        ("IMAGE/PNG; q=1", "a", PNG, "image/png"),
        ("image/jpg", "a", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("", "a.png", PNG, "image/png"),
        ("", "a.jpg", PNG, "image/png"),
        ("application/octet-stream", "a.bin", PNG, "image/png"),
        ("not a type", "a.txt", b"hi", "text/plain"),
        ("image/png", "a.png", b"plain words", "text/plain"),
        ("image/png", "a.png", b"<!DOCTYPE HTML><p>", "text/html"),
        ("image/png", "a.png", b"\xef\xbb\xbf \n<svg xmlns=''>", "image/svg+xml"),
        ("text/plain", "a", b"<html>", "text/html"),
        ("image/png", "a", b"", "application/octet-stream"),
        ("audio/mp4", "a", MP4, "audio/mp4"),
        ("video/quicktime", "a.mov", MP4, "video/quicktime"),
        ("video/mp4", "a", b"\x00\x00\x00\x14ftypqt  ", "video/quicktime"),
        ("", "a.bin", MP4, "video/mp4"),
        ("image/gif", "a", MP4, "video/mp4"),
        ("", "a.mkv", b"\x1aE\xdf\xa3", "video/x-matroska"),
        ("", "", b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        ("", "", b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio/wav"),
        ("", "", b"\x00\x00\x00\x1cftypavif", "image/avif"),
        ("application/vnd.oasis.opendocument.text", "a.odt", b"PK\x03\x04", "application/vnd.oasis.opendocument.text"),
        ("image/png", "a", b"PK\x03\x04", "application/zip"),
        ("", "a.json", b'{"a": 1}', "application/json"),
        ("application/x-latent", "a.latent", b"\x00\x01\x02", "application/x-latent"),
        ("", "a.latent", b"\x00\x01\x02", "application/octet-stream"),
        ("", "a", "größer".encode()[:4], "text/plain"),
        ("", "a", b"x" * (HEAD_BYTES - 1) + b"\xc3", "text/plain"),
        ("", "a", b"x\xc3", "application/octet-stream"),
        ("", "a", b"\xff\xfe\x00", "application/octet-stream"),
        ("", "a", b"bell\x07", "application/octet-stream"),
    ],
)
def test_the_type_is_the_claimed_one_where_plausible_else_found(
    claimed: str, file_name: str, head: bytes, expected: str
) -> None:
    assert media_type_of(claimed=claimed, file_name=file_name, head=head) == expected
