# ruff: noqa: ARG001 - a node's function takes every input of its class, by the name that clients use
"""Nodes that retouch pictures: laid over each other, blurred, sharpened, with room around them."""

from typing import Any

from PIL import Image, ImageChops, ImageFilter

from services.standin.call import NodeCall
from services.standin.model.node import NodeDefinition, Style
from services.standin.model.value import Masks, Pictures
from services.standin.nodes.image import scaled
from services.standin.nodes.spec import integer, number, side, socket, typed_choice, typed_socket

PADDING_GREY = (127, 127, 127)
_POST: dict[str, Any] = {"python_module": "comfy_extras.nodes_post_processing", "category": "image/postprocessing"}


def blend(
    call: NodeCall, *, image1: Pictures, image2: Pictures, blend_factor: float, blend_mode: str
) -> tuple[Pictures]:
    """Two batches laid over each other; the second takes the first one's size."""
    mixed = []
    for place, lower in enumerate(image1):
        upper = image2[min(place, len(image2) - 1)]
        if upper.size != lower.size:
            upper = scaled(upper, *lower.size, "bicubic", "center")
        mixed.append(Image.blend(lower, _mixed(lower, upper, blend_mode), blend_factor))
    return (tuple(mixed),)


def _mixed(lower: Image.Image, upper: Image.Image, mode: str) -> Image.Image:
    match mode:
        case "normal":
            return upper
        case "multiply":
            return ImageChops.multiply(lower, upper)
        case "screen":
            return ImageChops.screen(lower, upper)
        case "overlay":
            return ImageChops.overlay(lower, upper)
        case "soft_light":
            return ImageChops.soft_light(lower, upper)
        case "difference":
            return ImageChops.subtract(lower, upper)
    raise ValueError(f"Unsupported blend mode: {mode}")


def blur(call: NodeCall, *, image: Pictures, blur_radius: int, sigma: float) -> tuple[Pictures]:
    """Softer pictures; the radius in pixels bounds the spread."""
    strength = ImageFilter.GaussianBlur(min(sigma, float(blur_radius)))
    return (tuple(picture.filter(strength) for picture in image),)


def sharpen(call: NodeCall, *, image: Pictures, sharpen_radius: int, sigma: float, alpha: float) -> tuple[Pictures]:
    """Crisper pictures."""
    strength = ImageFilter.UnsharpMask(
        radius=min(sigma, float(sharpen_radius)), percent=round(alpha * 100), threshold=0
    )
    return (tuple(picture.filter(strength) for picture in image),)


def pad(
    call: NodeCall, *, image: Pictures, left: int, top: int, right: int, bottom: int, feathering: int
) -> tuple[Pictures, Masks]:
    """Pictures with room around them, and the mask of that room, fading over `feathering` pixels into the picture."""
    width, height = image[0].size
    size = (width + left + right, height + top + bottom)
    padded = []
    for picture in image:
        canvas = Image.new("RGB", size, PADDING_GREY)
        canvas.paste(picture, (left, top))
        padded.append(canvas)
    mask = Image.new("L", size, 255)
    mask.paste(_feather(width, height, (left, top, right, bottom), feathering), (left, top))
    return (tuple(padded), (mask,))


def _feather(width: int, height: int, sides: tuple[int, int, int, int], feathering: int) -> Image.Image:
    """Grey that is lightest at the edges where room was added."""
    inner = Image.new("L", (width, height), 0)
    if feathering <= 0 or feathering * 2 >= min(width, height):
        return inner
    fade = [round(255 * (1 - place / feathering) ** 2) for place in range(feathering)]
    row, column = Image.new("L", (width, 1)), Image.new("L", (1, height))
    left, top, right, bottom = sides
    for place, grey in enumerate(fade):
        if left:
            row.putpixel((place, 0), grey)
        if right:
            row.putpixel((width - 1 - place, 0), grey)
        if top:
            column.putpixel((0, place), grey)
        if bottom:
            column.putpixel((0, height - 1 - place), grey)
    return ImageChops.lighter(row.resize((width, height)), column.resize((width, height)))


def nodes() -> list[NodeDefinition]:
    """The definitions of this family."""
    return [
        NodeDefinition(
            class_type="ImagePadForOutpaint",
            run=pad,
            required={
                "image": socket("IMAGE"),
                **{name: side(0, 0, 8) for name in ("left", "top", "right", "bottom")},
                "feathering": side(40, 0),
            },
            outputs=("IMAGE", "MASK"),
            display_name="Pad Image for Outpainting",
            category="image",
        ),
        NodeDefinition(
            class_type="ImageBlend",
            run=blend,
            required={
                "image1": typed_socket("IMAGE"),
                "image2": typed_socket("IMAGE"),
                "blend_factor": number(0.5, 0.0, 1.0, 0.01),
                "blend_mode": typed_choice("normal", "multiply", "screen", "overlay", "soft_light", "difference"),
            },
            outputs=("IMAGE",),
            style=Style.SCHEMA,
            **_POST,
        ),
        NodeDefinition(
            class_type="ImageBlur",
            run=blur,
            required={
                "image": typed_socket("IMAGE"),
                "blur_radius": integer(1, 1, 31, 1),
                "sigma": number(1.0, 0.1, 10.0, 0.1),
            },
            outputs=("IMAGE",),
            style=Style.SCHEMA,
            **_POST,
        ),
        NodeDefinition(
            class_type="ImageSharpen",
            run=sharpen,
            required={
                "image": typed_socket("IMAGE"),
                "sharpen_radius": integer(1, 1, 31, 1),
                "sigma": number(1.0, 0.1, 10.0, 0.01),
                "alpha": number(1.0, 0.0, 5.0, 0.01),
            },
            outputs=("IMAGE",),
            style=Style.SCHEMA,
            **_POST,
        ),
    ]
