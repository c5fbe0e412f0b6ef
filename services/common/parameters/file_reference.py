"""How a file is named in a parameter: by its id, as a `data:` URI, or by an `https:` URL."""

import re
from enum import StrEnum
from uuid import UUID

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_DATA = re.compile(r"data:(?P<media>[\w.+-]+/[\w.+-]+)?(;[\w.+-]+=[^;,]*)*(?P<base64>;base64)?,", re.IGNORECASE)
_MEDIA_PATTERN = re.compile(r"(\*/\*|[\w.+-]+/(\*|[\w.+-]+))")
_MAX_HEAD = 512


class FileReferenceKind(StrEnum):
    """The forms of a file reference."""

    ID = "id"
    DATA = "data"
    URL = "url"


def file_reference_kind(text: str) -> FileReferenceKind | None:
    """Which form `text` has, None if none; a `data:` URI's bytes are not looked at."""
    if len(text) == 36 and _UUID.fullmatch(text):
        return FileReferenceKind.ID
    if _DATA.match(text[:_MAX_HEAD]):
        return FileReferenceKind.DATA
    if text[:8].lower() == "https://" and len(text) > 8:
        return FileReferenceKind.URL
    return None


def canonical_file_id(text: str) -> str:
    """A file id in the form that the file room writes."""
    return str(UUID(text))


def data_media_type(text: str) -> str:
    """The media type that a `data:` URI declares; `text/plain` when it names none (RFC 2397)."""
    match = _DATA.match(text[:_MAX_HEAD])
    return (match["media"] or "text/plain").lower() if match else ""


def is_media_pattern(text: str) -> bool:
    """Whether `text` is `type/subtype`, `type/*` or `*/*`."""
    return _MEDIA_PATTERN.fullmatch(text) is not None


def media_type_accepted(accept: tuple[str, ...], media_type: str) -> bool:
    """Whether `media_type` matches one of the patterns; everything matches none."""
    kind = media_type.partition(";")[0].strip().lower()
    family = kind.partition("/")[0]
    return not accept or any(pattern.lower() in ("*/*", f"{family}/*", kind) for pattern in accept)
