"""The bytes of WebSocket frames."""

import io
import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from PIL import Image, ImageOps

from services.standin.model.value import JsonObject

SERVER_FEATURES: JsonObject = {"supports_preview_metadata": True, "max_upload_size": 104857600}


class BinaryEvent(IntEnum):
    """The first four bytes of a binary frame, big-endian."""

    PREVIEW_IMAGE = 1
    TEXT = 3
    PREVIEW_IMAGE_WITH_METADATA = 4


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A picture to show while a node works; `longest_side` in pixels, None = as it is."""

    picture: Image.Image
    format: str = "JPEG"
    longest_side: int | None = None

    def encoded(self) -> bytes:
        """The picture in its format."""
        picture = self.picture
        if self.longest_side is not None:
            picture = ImageOps.contain(picture, (self.longest_side, self.longest_side), Image.Resampling.BILINEAR)
        target = io.BytesIO()
        picture.save(target, format=self.format, quality=95, compress_level=1)
        return target.getvalue()


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One message on its way to one client, or to all when `client_id` is None."""

    client_id: Any
    """Whatever the prompt gave; only a text can be the name of a socket."""
    payload: str | bytes


def text_frame(event: str, data: Any) -> str:
    """`{"type", "data"}`."""
    return json.dumps({"type": event, "data": data})


def preview_frame(preview: Preview) -> bytes:
    """A picture without ids: the client must know what is running."""
    number = 2 if preview.format == "PNG" else 1
    return struct.pack(">II", BinaryEvent.PREVIEW_IMAGE, number) + preview.encoded()


def described_preview_frame(preview: Preview, description: JsonObject) -> bytes:
    """A picture with the ids that it belongs to, for clients that asked for them."""
    kind = "image/png" if preview.format == "PNG" else "image/jpeg"
    text = json.dumps({**description, "image_type": kind}).encode()
    return struct.pack(">II", BinaryEvent.PREVIEW_IMAGE_WITH_METADATA, len(text)) + text + preview.encoded()


def progress_text_frame(node_id: str, text: str) -> bytes:
    """A line of text about a node."""
    name = node_id.encode()
    return struct.pack(">II", BinaryEvent.TEXT, len(name)) + name + text.encode()
