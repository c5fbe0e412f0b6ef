"""Comparing pictures and other media."""

import io
import json
import struct
from typing import Any

from PIL import Image, ImageChops

MOST_APART = 1
"""The original computes in 32-bit fractions and cuts them off; in whole numbers the last bit may differ."""
MAGIC = {
    "audio/flac": b"fLaC",
    "audio/mpeg": b"ID3",
    "video/webm": b"\x1aE\xdf\xa3",
    "video/mp4": b"ftyp",
}


def difference(recorded: bytes | None, ours: bytes, content_type: str) -> str | None:
    """What is wrong with a body of ours, or None."""
    magic = MAGIC.get(content_type)
    if magic is not None:
        return None if magic in ours[:12] else f"no {content_type}"
    if recorded is not None and b"latent_tensor" in recorded:
        return None if _tensors(recorded) == _tensors(ours) else f"other tensors: {_tensors(ours)}"
    if not content_type.startswith("image/") or content_type == "image/svg+xml":
        return None if recorded is None or recorded == ours else "other bytes"
    with Image.open(io.BytesIO(ours)) as opened:
        if recorded is None:
            return None
        with Image.open(io.BytesIO(recorded)) as expected:
            if (expected.size, expected.format) != (opened.size, opened.format):
                return f"{opened.format} {opened.size} instead of {expected.format} {expected.size}"
            apart = max(ImageChops.difference(expected.convert("RGBA"), opened.convert("RGBA")).tobytes(), default=0)
            if content_type == "image/png" and apart > MOST_APART:
                return f"other pixels, by up to {apart}"
    return None


def _tensors(content: bytes) -> Any:
    """Names, types and shapes of the tensors in a safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    return {name: (one["dtype"], one["shape"]) for name, one in header.items() if name != "__metadata__"}


def decoded(frame: bytes) -> dict[str, Any]:
    """A binary frame as the recorder wrote it down, with the format and size of its picture."""
    (event,) = struct.unpack(">I", frame[:4])
    if event == 1:
        (kind,) = struct.unpack(">I", frame[4:8])
        return {"event_type": 1, "image_type": kind, **_picture(frame[8:])}
    (length,) = struct.unpack(">I", frame[4:8])
    head, rest = frame[8 : 8 + length], frame[8 + length :]
    if event == 3:
        return {"event_type": 3, "node_id": head.decode(), "text": rest.decode()}
    return {"event_type": event, "metadata": head.decode(), **_picture(rest)}


def _picture(content: bytes) -> dict[str, Any]:
    with Image.open(io.BytesIO(content)) as opened:
        return {"format": opened.format, "size": list(opened.size)}
