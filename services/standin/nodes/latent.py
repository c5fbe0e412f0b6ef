# ruff: noqa: ARG001 - a node's function takes every input of its class, by the name that clients use
"""Nodes that work on latents: sizes and recipes in place of tensors."""

import json
import struct
from dataclasses import replace
from typing import Any

from services.standin.call import NodeCall
from services.standin.folders import Folders
from services.standin.model.node import NodeDefinition, NodeResult, Style
from services.standin.model.value import Latent, Pictures
from services.standin.nodes.image import scaled
from services.standin.nodes.loading import check_file, fingerprint
from services.standin.nodes.saving import save_slot
from services.standin.nodes.spec import SAVE_HIDDEN, choice, integer, number, side, socket, text
from services.standin.picture import Recipe, paint

PIXELS_PER_CELL = 8
MOST_FRAMES = 64
"""Of a video, at most so many frames are painted: each is a picture."""
_UPSCALING = ("nearest-exact", "bilinear", "area", "bicubic", "bislerp")


def empty(call: NodeCall, *, width: int, height: int, batch_size: int = 1, **_: Any) -> tuple[Latent]:
    """Nothing yet, of some size."""
    return (Latent(width=width, height=height, batch_size=batch_size),)


def empty_video(call: NodeCall, *, width: int, height: int, length: int, batch_size: int = 1) -> tuple[Latent]:
    """Nothing yet, of some size, for so many frames."""
    return (Latent(width=width, height=height, batch_size=batch_size * min(length, MOST_FRAMES)),)


def decode(call: NodeCall, *, samples: Latent, vae: Any, **_: Any) -> tuple[Pictures]:
    """The pictures of a latent: painted by its recipe, or those that were encoded into it."""
    if samples.seed is None and samples.pictures:
        size = (samples.width, samples.height)
        return (tuple(one if one.size == size else scaled(one, *size, "bicubic") for one in samples.pictures),)
    return (tuple(paint(recipe(samples, number)) for number in range(samples.batch_size)),)


def recipe(samples: Latent, number: int) -> Recipe:
    """The recipe of one picture of a latent."""
    return Recipe(
        width=samples.width, height=samples.height, seed=samples.seed or 0, texts=samples.texts, number=number
    )


def encode(call: NodeCall, *, pixels: Pictures, vae: Any, **_: Any) -> tuple[Latent]:
    """Pictures as a latent; sides are cut to multiples of 8, as in the original."""
    width, height = (max(PIXELS_PER_CELL, own // PIXELS_PER_CELL * PIXELS_PER_CELL) for own in pixels[0].size)
    return (Latent(width=width, height=height, batch_size=len(pixels), pictures=pixels),)


def upscale(
    call: NodeCall, *, samples: Latent, upscale_method: str, width: int, height: int, crop: str
) -> tuple[Latent]:
    """A latent of another size; 0 for one side keeps the proportions."""
    if width == 0 and height == 0:
        return (samples,)
    width = width or max(64, round(samples.width * height / samples.height))
    height = height or max(64, round(samples.height * width / samples.width))
    return (replace(samples, width=width, height=height),)


def upscale_by(call: NodeCall, *, samples: Latent, upscale_method: str, scale_by: float) -> tuple[Latent]:
    """A latent of a multiple of its size."""
    return (replace(samples, width=round(samples.width * scale_by), height=round(samples.height * scale_by)),)


def repeat(call: NodeCall, *, samples: Latent, amount: int) -> tuple[Latent]:
    """A batch several times over."""
    return (replace(samples, batch_size=samples.batch_size * amount, pictures=samples.pictures * amount),)


def pick(call: NodeCall, *, samples: Latent, batch_index: int, length: int) -> tuple[Latent]:
    """Some of a batch."""
    first = min(batch_index, samples.batch_size - 1)
    count = min(length, samples.batch_size - first)
    return (replace(samples, batch_size=count, pictures=samples.pictures[first : first + count]),)


def keep(call: NodeCall, *, samples: Latent, **_: Any) -> tuple[Latent]:
    """The latent with some setting changed, which makes no difference here."""
    return (samples,)


def save(call: NodeCall, *, samples: Latent, filename_prefix: str) -> NodeResult:
    """A safetensors file: a tensor of zeros of the latent's shape, its recipe among the metadata."""
    path, entry = save_slot(call, filename_prefix).next("latent")
    metadata = {"prompt": json.dumps(call.prompt)}
    metadata |= {key: json.dumps(value) for key, value in (call.extra_pnginfo or {}).items()}
    about = {"width": samples.width, "height": samples.height, "batch_size": samples.batch_size}
    metadata["standin"] = json.dumps({**about, "seed": samples.seed, "texts": list(samples.texts)})
    shape = [samples.batch_size, 4, samples.height // PIXELS_PER_CELL, samples.width // PIXELS_PER_CELL]
    size = 4 * shape[0] * shape[1] * shape[2] * shape[3]
    header = json.dumps(
        {
            "__metadata__": metadata,
            "latent_tensor": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]},
            "latent_format_version_0": {"dtype": "F32", "shape": [0], "data_offsets": [size, size]},
        }
    ).encode()
    with path.open("wb") as sink:
        sink.write(struct.pack("<Q", len(header)) + header)
        sink.write(bytes(size))
    return NodeResult(ui={"latents": [entry]})


def load(call: NodeCall, *, latent: str) -> tuple[Latent]:
    """A latent that `SaveLatent` of a stand-in wrote; of any other file, only the shape."""
    with call.folders.input_path(latent).open("rb") as source:
        (length,) = struct.unpack("<Q", source.read(8))
        header = json.loads(source.read(min(length, 1 << 24)))
    about = json.loads(header.get("__metadata__", {}).get("standin", "{}"))
    if about:
        return (Latent(**{**about, "texts": tuple(about["texts"])}),)
    shape = header["latent_tensor"]["shape"]
    return (Latent(width=shape[-1] * PIXELS_PER_CELL, height=shape[-2] * PIXELS_PER_CELL, batch_size=shape[0]),)


def _check_latent(folders: Folders, *, latent: Any) -> bool | str:
    return True if check_file(folders, image=latent) is True else f"Invalid latent file: {latent}"


def _latents(folders: Folders) -> list[str]:
    return folders.input_names((".latent",))


def nodes() -> list[NodeDefinition]:
    """The definitions of this family."""
    samples, vae = socket("LATENT"), socket("VAE")
    empty_side = side(512, 16, 8)
    return [
        NodeDefinition(
            class_type="VAEDecode",
            run=decode,
            required={"samples": samples, "vae": vae},
            outputs=("IMAGE",),
            output_tooltips=("A picture marked as a stand-in.",),
            display_name="VAE Decode",
            description="Paints the picture that a latent's recipe asks for.",
            category="latent",
        ),
        NodeDefinition(
            class_type="VAEDecodeTiled",
            run=decode,
            required={
                "samples": samples,
                "vae": vae,
                "tile_size": integer(512, 64, 4096, 32),
                "overlap": integer(64, 0, 4096, 32),
                "temporal_size": integer(64, 8, 4096, 4),
                "temporal_overlap": integer(8, 4, 4096, 4),
            },
            outputs=("IMAGE",),
            display_name="VAE Decode (Tiled)",
            category="_for_testing",
        ),
        NodeDefinition(
            class_type="VAEEncode",
            run=encode,
            required={"pixels": socket("IMAGE"), "vae": vae},
            outputs=("LATENT",),
            display_name="VAE Encode",
            category="latent",
        ),
        NodeDefinition(
            class_type="VAEEncodeForInpaint",
            run=encode,
            required={
                "pixels": socket("IMAGE"),
                "vae": vae,
                "mask": socket("MASK"),
                "grow_mask_by": integer(6, 0, 64, 1),
            },
            outputs=("LATENT",),
            display_name="VAE Encode (for Inpainting)",
            category="latent/inpaint",
        ),
        NodeDefinition(
            class_type="EmptyLatentImage",
            run=empty,
            required={"width": empty_side, "height": empty_side, "batch_size": integer(1, 1, 4096)},
            outputs=("LATENT",),
            output_tooltips=("An empty latent.",),
            display_name="Empty Latent Image",
            description="A size to sample in.",
            category="latent",
        ),
        NodeDefinition(
            class_type="EmptySD3LatentImage",
            run=empty,
            required={"width": side(1024, 16, 16), "height": side(1024, 16, 16), "batch_size": integer(1, 1, 4096)},
            outputs=("LATENT",),
            category="latent/sd3",
            python_module="comfy_extras.nodes_sd3",
            style=Style.SCHEMA,
        ),
        NodeDefinition(
            class_type="EmptyHunyuanLatentVideo",
            run=empty_video,
            required={
                "width": side(848, 16, 16),
                "height": side(480, 16, 16),
                "length": side(25, 1, 4),
                "batch_size": integer(1, 1, 4096),
            },
            outputs=("LATENT",),
            category="latent/video",
            python_module="comfy_extras.nodes_hunyuan",
        ),
        *_changing_nodes(),
    ]


def _changing_nodes() -> list[NodeDefinition]:
    samples = socket("LATENT")
    return [
        NodeDefinition(
            class_type="LatentUpscale",
            run=upscale,
            required={
                "samples": samples,
                "upscale_method": choice(*_UPSCALING),
                "width": side(512, 0, 8),
                "height": side(512, 0, 8),
                "crop": choice("disabled", "center"),
            },
            outputs=("LATENT",),
            display_name="Upscale Latent",
            category="latent",
        ),
        NodeDefinition(
            class_type="LatentUpscaleBy",
            run=upscale_by,
            required={
                "samples": samples,
                "upscale_method": choice(*_UPSCALING),
                "scale_by": number(1.5, 0.01, 8.0, 0.01),
            },
            outputs=("LATENT",),
            display_name="Upscale Latent By",
            category="latent",
        ),
        NodeDefinition(
            class_type="LatentFromBatch",
            run=pick,
            required={"samples": samples, "batch_index": integer(0, 0, 63), "length": integer(1, 1, 64)},
            outputs=("LATENT",),
            display_name="Latent From Batch",
            category="latent/batch",
        ),
        NodeDefinition(
            class_type="RepeatLatentBatch",
            run=repeat,
            required={"samples": samples, "amount": integer(1, 1, 64)},
            outputs=("LATENT",),
            display_name="Repeat Latent Batch",
            category="latent/batch",
        ),
        NodeDefinition(
            class_type="SetLatentNoiseMask",
            run=keep,
            required={"samples": samples, "mask": socket("MASK")},
            outputs=("LATENT",),
            display_name="Set Latent Noise Mask",
            category="latent/inpaint",
        ),
        NodeDefinition(
            class_type="LoadLatent",
            run=load,
            required={"latent": [[]]},
            listings={"latent": _latents},
            validate=_check_latent,
            validated_inputs=("latent",),
            fingerprint=lambda folders, *, latent: fingerprint(folders, image=latent),
            outputs=("LATENT",),
            category="_for_testing",
        ),
        NodeDefinition(
            class_type="SaveLatent",
            run=save,
            required={"samples": samples, "filename_prefix": text("latents/ComfyUI")},
            hidden=SAVE_HIDDEN,
            category="_for_testing",
            output_node=True,
        ),
    ]
