"""Frames of the WebSocket, as ComfyUI writes them (PROTOCOL.md §5). Pure; hostile bytes give None, never an error."""

import json
import struct
from dataclasses import dataclass
from typing import Any

PREVIEW = 1
TEXT = 3
PREVIEW_WITH_METADATA = 4
_IMAGE_TYPES = {1: "image/jpeg", 2: "image/png"}
_MAX_METADATA_BYTES = 64 * 1024
_MAX_TEXT_BYTES = 64 * 1024

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StatusFrame:
    """How long the queue is; the first of a connection names its client id."""

    queue_remaining: int


@dataclass(frozen=True, slots=True)
class MessageFrame:
    """A message about a prompt; `prompt_id` is empty on the one `executing` that greets a reconnect."""

    type: str
    prompt_id: str
    body: Json


@dataclass(frozen=True, slots=True)
class PictureFrame:
    """A picture; ids are empty where the frame carries none (event 1)."""

    media_type: str
    image: bytes
    node_id: str = ""
    prompt_id: str = ""


@dataclass(frozen=True, slots=True)
class TextFrame:
    """A text that a node reports; carries no prompt id."""

    node_id: str
    text: str


Frame = StatusFrame | MessageFrame | PictureFrame | TextFrame


def parse_text(data: str) -> Frame | None:
    """The frame of a text message; None for what we do not know."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    kind, body = message.get("type"), message.get("data")
    if not isinstance(kind, str) or not isinstance(body, dict):
        return None
    if kind == "status":
        return _status(body)
    prompt_id = body.get("prompt_id", "")
    return MessageFrame(kind, prompt_id if isinstance(prompt_id, str) else "", body)


def parse_binary(data: bytes) -> Frame | None:
    """The frame of a binary message; None for what we do not know."""
    if len(data) < 8:
        return None
    event, second = struct.unpack_from(">II", data)
    if event == PREVIEW:
        media_type = _IMAGE_TYPES.get(second)
        return PictureFrame(media_type, data[8:]) if media_type else None
    if event == TEXT:
        return _text(data, second)
    if event == PREVIEW_WITH_METADATA:
        return _picture(data, second)
    return None


def _status(body: Json) -> StatusFrame | None:
    status = body.get("status")
    info = status.get("exec_info") if isinstance(status, dict) else None
    remaining = info.get("queue_remaining") if isinstance(info, dict) else None
    return StatusFrame(remaining) if isinstance(remaining, int) else None


def _text(data: bytes, id_length: int) -> TextFrame | None:
    start = 8 + id_length
    if start > len(data):
        return None
    text = data[start : start + _MAX_TEXT_BYTES].decode(errors="replace")
    return TextFrame(data[8:start].decode(errors="replace"), text)


def _picture(data: bytes, metadata_length: int) -> PictureFrame | None:
    start = 8 + metadata_length
    if metadata_length > _MAX_METADATA_BYTES or start > len(data):
        return None
    try:
        metadata = json.loads(data[8:start])
    except (ValueError, RecursionError):
        return None
    if not isinstance(metadata, dict) or metadata.get("image_type") not in _IMAGE_TYPES.values():
        return None
    node_id, prompt_id = metadata.get("node_id"), metadata.get("prompt_id")
    return PictureFrame(
        metadata["image_type"],
        data[start:],
        node_id if isinstance(node_id, str) else "",
        prompt_id if isinstance(prompt_id, str) else "",
    )
