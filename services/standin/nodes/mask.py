# ruff: noqa: ARG001 - a node's function takes every input of its class, by the name that clients use
"""Nodes that work on masks."""

from PIL import Image, ImageChops, ImageFilter

from services.standin.call import NodeCall
from services.standin.model.node import NodeDefinition
from services.standin.model.value import Masks, Pictures
from services.standin.nodes.spec import choice, integer, number, side, socket

_MODULE = "comfy_extras.nodes_mask"


def invert(call: NodeCall, *, mask: Masks) -> tuple[Masks]:
    """What was masked is free, and the other way round."""
    return (tuple(ImageChops.invert(one) for one in mask),)


def to_image(call: NodeCall, *, mask: Masks) -> tuple[Pictures]:
    """Grey pictures."""
    return (tuple(one.convert("RGB") for one in mask),)


def from_image(call: NodeCall, *, image: Pictures, channel: str) -> tuple[Masks]:
    """One channel; pictures on links have no alpha, so that one is full."""
    if channel == "alpha":
        return (tuple(Image.new("L", one.size, 255) for one in image),)
    return (tuple(one.getchannel(channel[0].upper()) for one in image),)


def solid(call: NodeCall, *, value: float, width: int, height: int) -> tuple[Masks]:
    """One grey; value from 0 to 1."""
    return ((Image.new("L", (width, height), round(value * 255)),),)


def grow(call: NodeCall, *, mask: Masks, expand: int, tapered_corners: bool) -> tuple[Masks]:
    """Masks wider by so many pixels, or narrower."""
    grown = []
    for one in mask:
        if expand:
            widest = ImageFilter.MaxFilter if expand > 0 else ImageFilter.MinFilter
            one = one.filter(widest(min(abs(expand), 255) * 2 + 1))
        grown.append(one)
    return (tuple(grown),)


def nodes() -> list[NodeDefinition]:
    """The definitions of this family."""
    return [
        NodeDefinition(
            class_type="InvertMask",
            run=invert,
            required={"mask": socket("MASK")},
            outputs=("MASK",),
            category="mask",
            python_module=_MODULE,
        ),
        NodeDefinition(
            class_type="MaskToImage",
            run=to_image,
            required={"mask": socket("MASK")},
            outputs=("IMAGE",),
            display_name="Convert Mask to Image",
            category="mask",
            python_module=_MODULE,
        ),
        NodeDefinition(
            class_type="ImageToMask",
            run=from_image,
            required={"image": socket("IMAGE"), "channel": choice("red", "green", "blue", "alpha")},
            outputs=("MASK",),
            display_name="Convert Image to Mask",
            category="mask",
            python_module=_MODULE,
        ),
        NodeDefinition(
            class_type="SolidMask",
            run=solid,
            required={"value": number(1.0, 0.0, 1.0, 0.01), "width": side(), "height": side()},
            outputs=("MASK",),
            category="mask",
            python_module=_MODULE,
        ),
        NodeDefinition(
            class_type="GrowMask",
            run=grow,
            required={
                "mask": socket("MASK"),
                "expand": integer(0, -16384, 16384, 1),
                "tapered_corners": ["BOOLEAN", {"default": True}],
            },
            outputs=("MASK",),
            category="mask",
            python_module=_MODULE,
        ),
    ]
