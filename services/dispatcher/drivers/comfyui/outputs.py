"""What a node's ui object holds (PROTOCOL.md §5). Pure."""

import json
import mimetypes
from dataclasses import dataclass
from typing import Any

from services.dispatcher.drivers.comfyui.failure import storable
from services.dispatcher.model.output import OutputPlace

_FLAGS = frozenset({"animated"})
"""Keys that describe their neighbours instead of carrying anything."""
_MAX_NAME_BYTES = 255
_MAX_PATH_CHARACTERS = 4096
MAX_PER_NODE = 10_000
"""Entries of one node that are taken; a backend that lists more is refused."""


@dataclass(frozen=True, kw_only=True)
class BackendFile:
    """A file at the backend, as `/view` wants it."""

    place: OutputPlace
    filename: str
    subfolder: str
    type: str

    @property
    def file_name(self) -> str:
        """Name for people."""
        return bounded_name(self.filename.replace("\\", "/").rpartition("/")[2])


@dataclass(frozen=True, kw_only=True)
class PlainValue:
    """A value that stands in the ui object itself."""

    place: OutputPlace
    kind: str
    """`text` or `value`."""
    content: bytes
    media_type: str
    file_name: str


Entry = BackendFile | PlainValue


class TooManyOutputs(Exception):
    """A node lists more than is taken."""


def entries_of(node_id: str, ui: dict[str, Any]) -> list[Entry]:
    """Everything that one node put out. Raises TooManyOutputs."""
    entries: list[Entry] = []
    for key, value in ui.items():
        if key in _FLAGS and len(ui) > 1:
            continue
        listed = value if isinstance(value, list) else [value]
        for position, item in enumerate(listed):
            if len(entries) >= MAX_PER_NODE:
                raise TooManyOutputs
            place = OutputPlace(node_id=storable(node_id)[:256], key=storable(key)[:256], position=position)
            entries.append(_entry(place, item))
    return entries


def bounded_name(name: str) -> str:
    """`name` in at most 255 bytes of UTF-8, its extension kept."""
    name = storable(name) or "output"
    encoded = name.encode()
    if len(encoded) <= _MAX_NAME_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    tail = (dot + extension).encode()[:32] if stem else b""
    return encoded[: _MAX_NAME_BYTES - len(tail)].decode(errors="ignore") + tail.decode(errors="ignore")


def media_type_of(file_name: str, said: str) -> str:
    """The backend's word, else the name's; empty where both know nothing."""
    said = storable(said.partition(";")[0].strip().lower())[:128]
    if said and said != "application/octet-stream":
        return said
    return mimetypes.guess_type(file_name)[0] or said


def _entry(place: OutputPlace, item: object) -> Entry:
    if isinstance(item, dict):
        filename: Any = item.get("filename")
        subfolder: Any = item.get("subfolder", "")
        kind: Any = item.get("type", "output")
        texts = isinstance(filename, str) and isinstance(subfolder, str) and isinstance(kind, str)
        if texts and len(filename) > 0 and len(filename) + len(subfolder) + len(kind) < _MAX_PATH_CHARACTERS:
            return BackendFile(place=place, filename=filename, subfolder=subfolder, type=kind)
    stem = f"{place.node_id}-{place.key}-{place.position}"
    if isinstance(item, str):
        content, extension, media_type, kind = storable(item).encode(), "txt", "text/plain", "text"
    else:
        text = json.dumps(item, ensure_ascii=False)
        content, extension, media_type, kind = storable(text).encode(), "json", "application/json", "value"
    return PlainValue(
        place=place, kind=kind, content=content, media_type=media_type, file_name=bounded_name(f"{stem}.{extension}")
    )
