# ruff: noqa: ARG001 - a node's function takes every input of its class, by the name that clients use
"""Nodes that make pictures out of nothing or out of other pictures."""

from typing import Any

from PIL import Image, ImageChops, ImageOps

from services.standin.call import NodeCall
from services.standin.model.node import NodeDefinition, Style
from services.standin.model.value import Pictures
from services.standin.nodes.spec import choice, integer, number, side, socket, typed_choice, typed_socket

SCALE_METHODS = ("nearest-exact", "bilinear", "area", "bicubic", "lanczos")
_RESAMPLING = {
    "nearest-exact": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def scaled(picture: Image.Image, width: int, height: int, method: str, crop: str = "disabled") -> Image.Image:
    """A picture of another size; `crop` "center" keeps the proportions and cuts what is too much."""
    resampling = _RESAMPLING[method]
    if crop == "center":
        return ImageOps.fit(picture, (width, height), method=resampling)
    return picture.resize((width, height), resampling)


def empty_image(call: NodeCall, *, width: int, height: int, batch_size: int = 1, color: int = 0) -> tuple[Pictures]:
    """Pictures of one colour (0xRRGGBB)."""
    picture = Image.new("RGB", (width, height), (color >> 16 & 255, color >> 8 & 255, color & 255))
    return ((picture,) * batch_size,)


def invert(call: NodeCall, *, image: Pictures) -> tuple[Pictures]:
    """Every channel turned around."""
    return (tuple(ImageChops.invert(picture) for picture in image),)


def scale(
    call: NodeCall, *, image: Pictures, upscale_method: str, width: int, height: int, crop: str
) -> tuple[Pictures]:
    """Pictures of the given size; 0 for one side keeps the proportions, 0 for both the size."""
    if width == 0 and height == 0:
        return (image,)
    own_width, own_height = image[0].size
    width = width or max(1, round(own_width * height / own_height))
    height = height or max(1, round(own_height * width / own_width))
    return (tuple(scaled(picture, width, height, upscale_method, crop) for picture in image),)


def scale_by(call: NodeCall, *, image: Pictures, upscale_method: str, scale_by: float) -> tuple[Pictures]:
    """Pictures of a multiple of their size."""
    width, height = (max(1, round(own * scale_by)) for own in image[0].size)
    return (tuple(scaled(picture, width, height, upscale_method) for picture in image),)


def scale_to_pixels(call: NodeCall, *, image: Pictures, upscale_method: str, megapixels: float) -> tuple[Pictures]:
    """Pictures of so many times 1024 x 1024 pixels."""
    own_width, own_height = image[0].size
    factor = (megapixels * 1024 * 1024 / (own_width * own_height)) ** 0.5
    width, height = max(1, round(own_width * factor)), max(1, round(own_height * factor))
    return (tuple(scaled(picture, width, height, upscale_method) for picture in image),)


def crop(call: NodeCall, *, image: Pictures, width: int, height: int, x: int, y: int) -> tuple[Pictures]:
    """A part of each picture; never less than one pixel, never beyond the edge."""
    own_width, own_height = image[0].size
    left, top = min(x, own_width - 1), min(y, own_height - 1)
    box = (left, top, min(left + width, own_width), min(top + height, own_height))
    return (tuple(picture.crop(box) for picture in image),)


def batch(call: NodeCall, *, image1: Pictures, image2: Pictures) -> tuple[Pictures]:
    """One batch out of two; the second takes the first one's size."""
    size = image1[0].size
    fitted = (one if one.size == size else scaled(one, *size, "bilinear", "center") for one in image2)
    return ((*image1, *fitted),)


def size_of(call: NodeCall, *, image: Pictures) -> tuple[int, int, int]:
    """Width, height and how many."""
    width, height = image[0].size
    call.say(f"width: {width}, height: {height}\n batch size: {len(image)}")
    return (width, height, len(image))


def flip(call: NodeCall, *, image: Pictures, flip_method: str) -> tuple[Pictures]:
    """Mirrored pictures."""
    way = Image.Transpose.FLIP_TOP_BOTTOM if flip_method.startswith("x") else Image.Transpose.FLIP_LEFT_RIGHT
    return (tuple(picture.transpose(way) for picture in image),)


def rotate(call: NodeCall, *, image: Pictures, rotation: str) -> tuple[Pictures]:
    """Pictures turned clockwise by a quarter, a half or three quarters."""
    ways = {
        "90": Image.Transpose.ROTATE_270,
        "180": Image.Transpose.ROTATE_180,
        "270": Image.Transpose.ROTATE_90,
    }
    way = next((way for start, way in ways.items() if rotation.startswith(start)), None)
    return (image if way is None else tuple(picture.transpose(way) for picture in image),)


def repeat(call: NodeCall, *, image: Pictures, amount: int) -> tuple[Pictures]:
    """A batch several times over."""
    return (image * amount,)


def pick(call: NodeCall, *, image: Pictures, batch_index: int, length: int) -> tuple[Pictures]:
    """Some pictures of a batch."""
    first = min(batch_index, len(image) - 1)
    return (image[first : first + length],)


_EXTRA: dict[str, Any] = {"python_module": "comfy_extras.nodes_images"}


def nodes() -> list[NodeDefinition]:
    """The definitions of this family."""
    return [
        NodeDefinition(
            class_type="EmptyImage",
            run=empty_image,
            required={
                "width": side(),
                "height": side(),
                "batch_size": integer(1, 1, 4096),
                "color": integer(0, 0, 0xFFFFFF, 1, display="color"),
            },
            outputs=("IMAGE",),
            category="image",
        ),
        NodeDefinition(
            class_type="ImageScale",
            run=scale,
            required={
                "image": socket("IMAGE"),
                "upscale_method": choice(*SCALE_METHODS),
                "width": side(low=0),
                "height": side(low=0),
                "crop": choice("disabled", "center"),
            },
            outputs=("IMAGE",),
            display_name="Upscale Image",
            category="image/upscaling",
        ),
        NodeDefinition(
            class_type="ImageScaleBy",
            run=scale_by,
            required={
                "image": socket("IMAGE"),
                "upscale_method": choice(*SCALE_METHODS),
                "scale_by": number(1.0, 0.01, 8.0, 0.01),
            },
            outputs=("IMAGE",),
            display_name="Upscale Image By",
            category="image/upscaling",
        ),
        NodeDefinition(
            class_type="ImageInvert",
            run=invert,
            required={"image": socket("IMAGE")},
            outputs=("IMAGE",),
            display_name="Invert Image",
            category="image",
        ),
        NodeDefinition(
            class_type="ImageBatch",
            run=batch,
            required={"image1": socket("IMAGE"), "image2": socket("IMAGE")},
            outputs=("IMAGE",),
            display_name="Batch Images",
            category="image",
        ),
        NodeDefinition(
            class_type="ImageScaleToTotalPixels",
            run=scale_to_pixels,
            required={
                "image": typed_socket("IMAGE"),
                "upscale_method": typed_choice(*SCALE_METHODS),
                "megapixels": number(1.0, 0.01, 16.0, 0.01),
            },
            outputs=("IMAGE",),
            style=Style.SCHEMA,
            python_module="comfy_extras.nodes_post_processing",
            category="image/upscaling",
        ),
        *_extra_nodes(),
    ]


def _extra_nodes() -> list[NodeDefinition]:
    return [
        NodeDefinition(
            class_type="ImageCrop",
            run=crop,
            required={
                "image": socket("IMAGE"),
                "width": side(),
                "height": side(),
                "x": side(0, 0),
                "y": side(0, 0),
            },
            outputs=("IMAGE",),
            display_name="Image Crop",
            category="image/transform",
            **_EXTRA,
        ),
        NodeDefinition(
            class_type="RepeatImageBatch",
            run=repeat,
            required={"image": socket("IMAGE"), "amount": integer(1, 1, 4096)},
            outputs=("IMAGE",),
            category="image/batch",
            **_EXTRA,
        ),
        NodeDefinition(
            class_type="ImageFromBatch",
            run=pick,
            required={
                "image": socket("IMAGE"),
                "batch_index": integer(0, 0, 4095),
                "length": integer(1, 1, 4096),
            },
            outputs=("IMAGE",),
            category="image/batch",
            **_EXTRA,
        ),
        NodeDefinition(
            class_type="GetImageSize",
            run=size_of,
            required={"image": socket("IMAGE")},
            hidden={"unique_id": "UNIQUE_ID"},
            outputs=("INT", "INT", "INT"),
            output_names=("width", "height", "batch_size"),
            display_name="Get Image Size",
            category="image",
            **_EXTRA,
        ),
        NodeDefinition(
            class_type="ImageFlip",
            run=flip,
            required={"image": socket("IMAGE"), "flip_method": choice("x-axis: vertically", "y-axis: horizontally")},
            outputs=("IMAGE",),
            category="image/transform",
            **_EXTRA,
        ),
        NodeDefinition(
            class_type="ImageRotate",
            run=rotate,
            required={
                "image": socket("IMAGE"),
                "rotation": choice("none", "90 degrees", "180 degrees", "270 degrees"),
            },
            outputs=("IMAGE",),
            category="image/transform",
            **_EXTRA,
        ),
    ]
