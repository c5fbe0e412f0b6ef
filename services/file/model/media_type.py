"""What type a file is: the sender's word where the bytes do not contradict it, else what name and bytes tell."""

import codecs
import re

from services.file.model.magic import MAGIC_TYPES, magic_type

UNKNOWN = "application/octet-stream"
HEAD_BYTES = 4096
"""How many first bytes are looked at."""

_PART = r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}"
_ESSENCE = re.compile(f"{_PART}/{_PART}")

_SAME = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-ms-bmp": "image/bmp",
    "image/heif": "image/heic",
    "image/vnd.microsoft.icon": "image/x-icon",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/mp3": "audio/mpeg",
    "video/avi": "video/x-msvideo",
    "application/x-gzip": "application/gzip",
    "application/x-zip-compressed": "application/zip",
}
"""Other names of types that we know by their bytes."""

_CONTAINERS: dict[str, frozenset[str]] = {
    "video/mp4": frozenset({"audio/mp4", "audio/x-m4a", "audio/m4a", "video/x-m4v", "video/quicktime", "video/3gpp"}),
    "video/webm": frozenset({"audio/webm", "video/x-matroska", "audio/x-matroska"}),
    "audio/ogg": frozenset({"video/ogg", "application/ogg", "audio/opus", "audio/vorbis"}),
    "image/png": frozenset({"image/apng"}),
    "audio/mpeg": frozenset({"audio/aac", "audio/x-aac"}),
    "image/tiff": frozenset({"image/x-adobe-dng", "image/x-canon-cr2", "image/x-nikon-nef"}),
}
"""What else a file with these first bytes may be called. ZIP and gzip may be nearly anything."""

_BY_EXTENSION = {
    "png": "image/png", "apng": "image/apng", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif",
    "webp": "image/webp", "bmp": "image/bmp", "tif": "image/tiff", "tiff": "image/tiff", "avif": "image/avif",
    "heic": "image/heic", "ico": "image/x-icon", "svg": "image/svg+xml", "exr": "image/x-exr",
    "hdr": "image/vnd.radiance", "psd": "image/vnd.adobe.photoshop",
    "mp4": "video/mp4", "m4v": "video/x-m4v", "mov": "video/quicktime", "webm": "video/webm",
    "mkv": "video/x-matroska", "avi": "video/x-msvideo",
    "wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "ogg": "audio/ogg", "oga": "audio/ogg",
    "opus": "audio/opus", "m4a": "audio/mp4", "aac": "audio/aac",
    "txt": "text/plain", "log": "text/plain", "md": "text/markdown", "csv": "text/csv", "html": "text/html",
    "htm": "text/html", "xml": "application/xml", "json": "application/json", "yaml": "application/yaml",
    "yml": "application/yaml", "srt": "application/x-subrip", "vtt": "text/vtt",
    "pdf": "application/pdf", "zip": "application/zip", "gz": "application/gzip",
    "glb": "model/gltf-binary", "gltf": "model/gltf+json", "obj": "model/obj", "stl": "model/stl", "ply": "model/ply",
}  # fmt: skip


def media_type_of(*, claimed: str, file_name: str, head: bytes) -> str:
    """The MIME type to record, without parameters and in lower case; `head` are the file's first bytes."""
    found = magic_type(head)
    for candidate in (_essence(claimed), _by_name(file_name)):
        if candidate and _plausible(candidate, found):
            return candidate
    if found:
        return found
    return "text/plain" if head and _is_text(head) else UNKNOWN


def _essence(claimed: str) -> str:
    """The type without its parameters, under its usual name; empty if this says nothing."""
    essence = claimed.partition(";")[0].strip().lower()
    if not _ESSENCE.fullmatch(essence) or essence == UNKNOWN:
        return ""
    return _SAME.get(essence, essence)


def _by_name(file_name: str) -> str:
    return _BY_EXTENSION.get(file_name.rpartition(".")[2].lower(), "") if "." in file_name else ""


def _plausible(candidate: str, found: str | None) -> bool:
    """Whether bytes that look like `found` (None: like nothing we know) can be of type `candidate`."""
    if found == candidate:
        return True
    if found in ("application/zip", "application/gzip"):
        return candidate not in MAGIC_TYPES
    if found is not None:
        return candidate in _CONTAINERS.get(found, ())
    # A type that we would have known by its bytes, and did not see.
    return candidate not in MAGIC_TYPES and not any(candidate in others for others in _CONTAINERS.values())


def _is_text(head: bytes) -> bool:
    # A character may be cut in two at the end of what we look at, not at the end of the file.
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(head, final=len(head) < HEAD_BYTES)
    except UnicodeDecodeError:
        return False
    return not any(ord(each) < 32 and each not in "\t\n\r\f\x1b" for each in text)
