"""Graphs for journeys. All run on the stand-in and, but for those named so, on any ComfyUI without models."""

import itertools
import secrets
from io import BytesIO
from typing import Any

from PIL import Image

_COLOURS = itertools.count(secrets.randbelow(1 << 20))


def picture_graph(*, width: int = 64, height: int = 48) -> dict[str, Any]:
    """One picture in a colour that no cache has."""
    colour = next(_COLOURS)
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": width, "height": height, "batch_size": 1, "color": colour},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "picture"}},
    }


def slow_nodes(*, seconds: float, steps: int) -> dict[str, Any]:
    """Two nodes, 8 and 9, that take their time with progress and end with a text. The stand-in's own."""
    inputs = {"value": next(_COLOURS), "seconds": seconds, "steps": steps, "preview": False}
    return {
        "8": {"class_type": "StandinSleep", "inputs": inputs},
        "9": {"class_type": "PreviewAny", "inputs": {"source": ["8", 0]}},
    }


def resize_graph(file: str = "$file(photo)") -> dict[str, Any]:
    """An uploaded photo made 32x16."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": file}},
        "2": {
            "class_type": "ImageScale",
            "inputs": {"image": ["1", 0], "upscale_method": "bilinear", "width": 32, "height": 16, "crop": "disabled"},
        },
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "small"}},
    }


def sampling_graph(*, seed: Any = 1, steps: Any = 4) -> dict[str, Any]:
    """The default text-to-image graph; the stand-in draws it, a ComfyUI needs a model."""
    return {
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": seed,
                "steps": steps,
                "cfg": 7.5,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1.0,
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["5", 0],
            },
            "_meta": {"title": "Sampler"},
        },
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "any.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 128, "height": 128, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["4", 1], "text": f"colour {next(_COLOURS)}"}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["4", 1], "text": ""}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "drawn"}},
    }


def photo(*, width: int = 96, height: int = 64) -> bytes:
    """A JPEG nobody uploaded before."""
    buffer = BytesIO()
    Image.new("RGB", (width, height), (next(_COLOURS) % 256, secrets.randbelow(256), 90)).save(buffer, "JPEG")
    return buffer.getvalue()


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height of a picture, which must be a whole one."""
    with Image.open(BytesIO(data)) as image:
        image.load()
        return image.size
