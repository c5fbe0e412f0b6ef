"""Nodes that read files from the input folder."""

import hashlib
from typing import Any

from PIL import Image, ImageChops, ImageOps, ImageSequence

from services.standin.call import NodeCall
from services.standin.folders import PICTURE_SUFFIXES, Folders
from services.standin.model.node import NodeDefinition
from services.standin.model.value import Masks, Pictures
from services.standin.nodes.spec import choice

NO_ALPHA_SIZE = (64, 64)
"""A picture without alpha gives an empty mask of this size, as in the original."""


def load(call: NodeCall, *, image: str) -> tuple[Pictures, Masks]:
    """The picture, or each frame of an animation, and its transparency as a mask."""
    pictures: list[Image.Image] = []
    masks: list[Image.Image] = []
    with Image.open(call.folders.input_path(image)) as opened:
        frames = 1 if opened.format == "MPO" else None
        for frame in ImageSequence.Iterator(opened):
            upright = ImageOps.exif_transpose(frame)
            plain = _eight_bit(upright).convert("RGB")
            if pictures and plain.size != pictures[0].size:
                continue
            pictures.append(plain)
            masks.append(_transparency(upright))
            if len(pictures) == frames:
                break
    return (tuple(pictures), tuple(masks))


def load_mask(call: NodeCall, *, image: str, channel: str) -> tuple[Masks]:
    """One channel of a picture as a mask; alpha counts the other way round."""
    with Image.open(call.folders.input_path(image)) as opened:
        coloured = _eight_bit(ImageOps.exif_transpose(opened)).convert("RGBA")
    letter = channel[0].upper()
    grey = coloured.getchannel(letter)
    return ((ImageChops.invert(grey) if letter == "A" else grey,),)


def _eight_bit(picture: Image.Image) -> Image.Image:
    """16-bit greys scaled down; Pillow would cut them off."""
    if picture.mode.startswith("I"):
        return picture.convert("I").point(lambda grey: grey * (1 / 257)).convert("L")
    return picture


def _transparency(picture: Image.Image) -> Image.Image:
    if "A" in picture.getbands():
        return ImageChops.invert(picture.getchannel("A"))
    if picture.mode == "P" and "transparency" in picture.info:
        return ImageChops.invert(picture.convert("RGBA").getchannel("A"))
    return Image.new("L", NO_ALPHA_SIZE, 0)


def fingerprint(folders: Folders, *, image: Any, **_: Any) -> str:
    """The file's SHA-256: other bytes under the same name are another picture."""
    with folders.input_path(image).open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def check_file(folders: Folders, *, image: Any) -> bool | str:
    """Whether there is such a file."""
    return True if folders.input_path(image).exists() else f"Invalid image file: {image}"


def _pictures(folders: Folders) -> list[str]:
    return folders.input_names(PICTURE_SUFFIXES)


def _files(folders: Folders) -> list[str]:
    return folders.input_names()


def nodes() -> list[NodeDefinition]:
    """The definitions of this family."""
    return [
        NodeDefinition(
            class_type="LoadImage",
            run=load,
            required={"image": [[], {"image_upload": True}]},
            listings={"image": _pictures},
            validate=check_file,
            validated_inputs=("image",),
            fingerprint=fingerprint,
            outputs=("IMAGE", "MASK"),
            display_name="Load Image",
            category="image",
        ),
        NodeDefinition(
            class_type="LoadImageMask",
            run=load_mask,
            required={"image": [[], {"image_upload": True}], "channel": choice("alpha", "red", "green", "blue")},
            listings={"image": _files},
            validate=check_file,
            validated_inputs=("image",),
            fingerprint=fingerprint,
            outputs=("MASK",),
            display_name="Load Image (as Mask)",
            category="mask",
        ),
        NodeDefinition(
            class_type="LoadImageOutput",
            run=load,
            required={
                "image": [
                    "COMBO",
                    {
                        "image_upload": True,
                        "image_folder": "output",
                        "remote": {
                            "route": "/internal/files/output",
                            "refresh_button": True,
                            "control_after_refresh": "first",
                        },
                    },
                ]
            },
            validate=check_file,
            validated_inputs=("image",),
            fingerprint=fingerprint,
            outputs=("IMAGE", "MASK"),
            display_name="Load Image (from Outputs)",
            description="Reads a picture that an earlier prompt saved.",
            category="image",
            marks={"experimental": True},
        ),
    ]
