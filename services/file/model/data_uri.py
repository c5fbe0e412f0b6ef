"""`data:` URIs (RFC 2397), read as browsers do: the payload is percent-decoded first, then perhaps base64."""

import base64
import binascii
import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from services.common.errors import InvalidArgument, Violation

MAX_URI_BYTES = 8 * 1024 * 1024

_BASE64 = re.compile(r";\s*base64\s*$", re.IGNORECASE)
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_WHITESPACE = b" \t\n\r\f"


@dataclass(frozen=True, kw_only=True)
class DataUri:
    """The bytes of a `data:` URI and what it says of them."""

    media_type: str
    content: bytes


def parse_data_uri(uri: str) -> DataUri:
    """What `uri` holds; InvalidArgument if it is no `data:` URI, malformed, or longer than MAX_URI_BYTES."""
    if uri[:5].lower() != "data:":
        raise _invalid("SCHEME", "Give a `data:` URI.")
    if len(uri.encode(errors="replace")) > MAX_URI_BYTES:
        raise _invalid("TOO_LONG", "Give at most 8 MiB of text; upload larger files as a stream.")
    said, comma, payload = uri[5:].partition(",")
    if not comma:
        raise _invalid("MALFORMED", "A comma must stand between the type and the data.")
    if _STRAY_PERCENT.search(payload) or not payload.isascii():
        raise _invalid("MALFORMED", "Write every character that is not plain ASCII as %XX.")
    content = unquote_to_bytes(payload)
    base64_mark = _BASE64.search(said)
    if base64_mark:
        said, content = said[: base64_mark.start()], _from_base64(content)
    return DataUri(media_type=said.partition(";")[0].strip().lower() or "text/plain", content=content)


def _from_base64(text: bytes) -> bytes:
    packed = text.translate(None, _WHITESPACE)
    if b"=" not in packed:  # padding may be left out
        packed += b"=" * (-len(packed) % 4)
    try:
        return base64.b64decode(packed, validate=True)
    except binascii.Error as error:
        raise _invalid("MALFORMED", "The data are no base64.") from error


def _invalid(reason: str, message: str) -> InvalidArgument:
    return InvalidArgument(violations=[Violation("uri", reason, message)])
