"""Nodes that write pictures, or send them over the WebSocket."""

import json
import random
import string
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from services.standin.call import NodeCall
from services.standin.folders import Folders, SaveSlot
from services.standin.frame import Preview
from services.standin.model.node import NodeDefinition, NodeResult
from services.standin.model.value import JsonObject, Pictures
from services.standin.nodes.spec import SAVE_HIDDEN, choice, integer, number, socket, text

SAVED_COMPRESSION = 4
PREVIEW_COMPRESSION = 1
WEBP_METHODS = {"default": 4, "fastest": 0, "slowest": 6}
PREFIX = "ComfyUI"


def metadata(call: NodeCall) -> PngInfo:
    """The prompt and what the caller put beside it, as the PNG texts that clients read."""
    texts = PngInfo()
    texts.add_text("prompt", json.dumps(call.prompt))
    for key, value in (call.extra_pnginfo or {}).items():
        texts.add_text(key, json.dumps(value))
    return texts


def save_slot(call: NodeCall, prefix: str, pictures: Pictures | None = None) -> SaveSlot:
    """The place of a save in the output folder."""
    width, height = (0, 0) if not pictures else pictures[0].size
    return SaveSlot(call.folders, folder=call.folders.output, kind="output", prefix=prefix, width=width, height=height)


def temp_slot(call: NodeCall, pictures: Pictures | None = None) -> SaveSlot:
    """The place of a preview in the temp folder, under letters that the node keeps."""
    letters = call.state.setdefault("letters", "".join(random.choices(string.ascii_lowercase, k=5)))  # noqa: S311 - no secret
    width, height = (0, 0) if not pictures else pictures[0].size
    prefix = f"{PREFIX}_temp_{letters}"
    return SaveSlot(call.folders, folder=call.folders.temp, kind="temp", prefix=prefix, width=width, height=height)


def save(call: NodeCall, *, images: Pictures, filename_prefix: str = PREFIX) -> NodeResult:
    """PNG files in the output folder."""
    return _saved(call, images, save_slot(call, filename_prefix, images), SAVED_COMPRESSION)


def preview(call: NodeCall, *, images: Pictures) -> NodeResult:
    """PNG files in the temp folder."""
    return _saved(call, images, temp_slot(call, images), PREVIEW_COMPRESSION)


def _saved(call: NodeCall, images: Pictures, slot: SaveSlot, compression: int) -> NodeResult:
    texts = metadata(call)
    entries: list[JsonObject] = []
    for place, picture in enumerate(images):
        path, entry = slot.next("png", picture=place)
        picture.save(path, format="PNG", pnginfo=texts, compress_level=compression)
        entries.append(entry)
    return NodeResult(ui={"images": entries})


def save_webp(
    call: NodeCall,
    *,
    images: Pictures,
    filename_prefix: str,
    fps: float,
    lossless: bool,
    quality: int,
    method: str,
) -> NodeResult:
    """One animated WebP file with all pictures."""
    path, entry = save_slot(call, filename_prefix, images).next("webp")
    exif = Image.Exif()
    exif[0x0110] = f"prompt:{json.dumps(call.prompt)}"
    for tag, (key, value) in enumerate((call.extra_pnginfo or {}).items()):
        exif[0x010F - tag] = f"{key}:{json.dumps(value)}"
    images[0].save(
        path,
        format="WEBP",
        save_all=True,
        append_images=images[1:],
        duration=int(1000 / fps),
        lossless=lossless,
        quality=quality,
        method=WEBP_METHODS[method],
        exif=exif,
    )
    return NodeResult(ui={"images": [entry], "animated": [True]})


def save_apng(call: NodeCall, *, images: Pictures, filename_prefix: str, fps: float, compress_level: int) -> NodeResult:
    """One animated PNG file with all pictures."""
    path, entry = save_slot(call, filename_prefix, images).next("png")
    _write_apng(path, images, fps, compress_level, metadata(call))
    return NodeResult(ui={"images": [entry], "animated": [True]})


def _write_apng(path: Path, images: Pictures, fps: float, compression: int, texts: PngInfo) -> None:
    images[0].save(
        path,
        format="PNG",
        pnginfo=texts,
        compress_level=compression,
        save_all=True,
        append_images=images[1:],
        duration=int(1000 / fps),
    )


def send(call: NodeCall, *, images: Pictures) -> NodeResult:
    """Each picture as a PNG preview frame; nothing is written and the history shows nothing."""
    for place, picture in enumerate(images):
        call.report(place, len(images), Preview(picture=picture, format="PNG"))
    return NodeResult()


def never_cached(_folders: Folders, **_: object) -> object:
    """Frames are sent anew each time."""
    return object()


def nodes() -> list[NodeDefinition]:
    """The definitions of this family."""
    animated: dict[str, Any] = {"python_module": "comfy_extras.nodes_images", "category": "image/animation"}
    return [
        NodeDefinition(
            class_type="SaveImage",
            run=save,
            required={
                "images": socket("IMAGE", tooltip="What to save."),
                "filename_prefix": text(
                    PREFIX, tooltip="Start of the file name; tokens such as %width% are filled in."
                ),
            },
            hidden=SAVE_HIDDEN,
            display_name="Save Image",
            description="Writes pictures to the output folder.",
            category="image",
            output_node=True,
        ),
        NodeDefinition(
            class_type="PreviewImage",
            run=preview,
            required={"images": socket("IMAGE")},
            hidden=SAVE_HIDDEN,
            display_name="Preview Image",
            description="Writes pictures to the temp folder.",
            category="image",
            output_node=True,
        ),
        NodeDefinition(
            class_type="SaveAnimatedWEBP",
            run=save_webp,
            required={
                "images": socket("IMAGE"),
                "filename_prefix": text(PREFIX),
                "fps": number(6.0, 0.01, 1000.0, 0.01),
                "lossless": ["BOOLEAN", {"default": True}],
                "quality": integer(80, 0, 100),
                "method": choice(*WEBP_METHODS),
            },
            hidden=SAVE_HIDDEN,
            output_node=True,
            **animated,
        ),
        NodeDefinition(
            class_type="SaveAnimatedPNG",
            run=save_apng,
            required={
                "images": socket("IMAGE"),
                "filename_prefix": text(PREFIX),
                "fps": number(6.0, 0.01, 1000.0, 0.01),
                "compress_level": integer(4, 0, 9),
            },
            hidden=SAVE_HIDDEN,
            output_node=True,
            **animated,
        ),
        NodeDefinition(
            class_type="SaveImageWebsocket",
            run=send,
            required={"images": socket("IMAGE")},
            python_module="custom_nodes.websocket_image_save",
            category="api/image",
            output_node=True,
            fingerprint=never_cached,
        ),
    ]
