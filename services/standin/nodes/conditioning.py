# ruff: noqa: ARG001 - a node's function takes every input of its class, by the name that clients use
"""Nodes that say what a picture should show. Texts are all that matters here."""

from typing import Any

from services.standin.call import NodeCall
from services.standin.model.node import InputSpec, NodeDefinition, Style
from services.standin.model.value import Conditioning, Latent, Pictures
from services.standin.nodes.spec import choice, integer, number, socket, text, typed_choice, typed_socket

_PROMPT: dict[str, Any] = {"multiline": True, "dynamicPrompts": True}


def joined_texts(*parts: Any) -> Conditioning:
    """All texts of some conditionings, and bare texts, in order."""
    found: list[str] = []
    for part in parts:
        if isinstance(part, Conditioning):
            found.extend(part.texts)
        elif part is not None:
            found.append(str(part))
    return Conditioning(texts=tuple(found))


def encode(call: NodeCall, *, clip: Any, text: str) -> tuple[Conditioning]:
    """One text."""
    return (joined_texts(text),)


def encode_several(call: NodeCall, *, clip: Any, **inputs: Any) -> tuple[Conditioning]:
    """Every text among the inputs."""
    return (joined_texts(*(value for value in inputs.values() if isinstance(value, str))),)


def join(call: NodeCall, **inputs: Any) -> tuple[Conditioning]:
    """Every conditioning among the inputs."""
    return (joined_texts(*(value for value in inputs.values() if isinstance(value, Conditioning))),)


def keep(call: NodeCall, *, conditioning: Any, **_: Any) -> tuple[Any]:
    """The conditioning with some setting changed, which makes no difference here."""
    return (conditioning,)


def empty(call: NodeCall, *, conditioning: Any) -> tuple[Conditioning]:
    """No text at all."""
    return (Conditioning(),)


def keep_both(call: NodeCall, *, positive: Any, negative: Any, **_: Any) -> tuple[Any, Any]:
    """Both conditionings with some setting changed."""
    return (positive, negative)


def inpaint(call: NodeCall, *, positive: Any, negative: Any, pixels: Pictures, **_: Any) -> tuple[Any, Any, Latent]:
    """Both conditionings, and the picture as a latent."""
    width, height = pixels[0].size
    return (positive, negative, Latent(width=width, height=height, batch_size=len(pixels), pictures=pixels))


def see(call: NodeCall, *, clip_vision: Any, image: Pictures, crop: str) -> tuple[Conditioning]:
    """What a vision model would see: the size of the picture."""
    return (joined_texts("{}x{}".format(*image[0].size)),)


def _node(
    class_type: str,
    run: Any,
    required: dict[str, InputSpec],
    outputs: tuple[str, ...] = ("CONDITIONING",),
    **about: Any,
) -> NodeDefinition:
    return NodeDefinition(
        class_type=class_type, run=run, required=required, outputs=outputs, **{"category": "conditioning", **about}
    )


def nodes() -> list[NodeDefinition]:
    """The definitions of this family."""
    link = socket("CONDITIONING")
    both = {"positive": link, "negative": link}
    percent = {"start_percent": number(0.0, 0.0, 1.0, 0.001), "end_percent": number(1.0, 0.0, 1.0, 0.001)}
    control = {"control_net": socket("CONTROL_NET"), "image": socket("IMAGE"), "strength": number(1.0, 0.0, 10.0, 0.01)}
    return [
        _node(
            "CLIPTextEncode",
            encode,
            {"text": text(**_PROMPT), "clip": socket("CLIP")},
            display_name="CLIP Text Encode (Prompt)",
            description="Keeps the text; the stand-in's picture depends on it.",
            output_tooltips=("The text.",),
        ),
        _node(
            "ConditioningAverage",
            join,
            {
                "conditioning_to": link,
                "conditioning_from": link,
                "conditioning_to_strength": number(1.0, 0.0, 1.0, 0.01),
            },
        ),
        _node(
            "ConditioningCombine",
            join,
            {"conditioning_1": link, "conditioning_2": link},
            display_name="Conditioning (Combine)",
        ),
        _node(
            "ConditioningConcat",
            join,
            {"conditioning_to": link, "conditioning_from": link},
            display_name="Conditioning (Concat)",
        ),
        _node("ConditioningZeroOut", empty, {"conditioning": link}, category="advanced/conditioning"),
        _node(
            "ConditioningSetTimestepRange",
            keep,
            {"conditioning": link, "start": number(0.0, 0.0, 1.0, 0.001), "end": number(1.0, 0.0, 1.0, 0.001)},
            category="advanced/conditioning",
        ),
        _node(
            "ControlNetApply",
            keep,
            {"conditioning": link, **control},
            display_name="Apply ControlNet (OLD)",
            category="conditioning/controlnet",
            marks={"deprecated": True},
        ),
        _node(
            "ControlNetApplyAdvanced",
            keep_both,
            {**both, **control, **percent},
            ("CONDITIONING", "CONDITIONING"),
            output_names=("positive", "negative"),
            optional={"vae": socket("VAE")},
            display_name="Apply ControlNet",
            category="conditioning/controlnet",
        ),
        _node(
            "InpaintModelConditioning",
            inpaint,
            {
                **both,
                "vae": socket("VAE"),
                "pixels": socket("IMAGE"),
                "mask": socket("MASK"),
                "noise_mask": ["BOOLEAN", {"default": True}],
            },
            ("CONDITIONING", "CONDITIONING", "LATENT"),
            output_names=("positive", "negative", "latent"),
            category="conditioning/inpaint",
        ),
        _node(
            "CLIPVisionEncode",
            see,
            {"clip_vision": socket("CLIP_VISION"), "image": socket("IMAGE"), "crop": choice("center", "none")},
            ("CLIP_VISION_OUTPUT",),
            display_name="CLIP Vision Encode",
        ),
        *_typed_nodes(),
    ]


def _typed_nodes() -> list[NodeDefinition]:
    prompt = ["STRING", _PROMPT]
    clip = typed_socket("CLIP")
    guidance = number(3.5, 0.0, 100.0, 0.1)
    flux: dict[str, Any] = {
        "style": Style.SCHEMA,
        "category": "advanced/conditioning/flux",
        "python_module": "comfy_extras.nodes_flux",
    }
    plain: dict[str, Any] = {"style": Style.SCHEMA, "category": "advanced/conditioning"}
    sizes = {
        name: integer(default, 0, 16384)
        for name, default in (
            *(("width", 1024), ("height", 1024), ("crop_w", 0)),
            *(("crop_h", 0), ("target_width", 1024), ("target_height", 1024)),
        )
    }
    return [
        _node("FluxGuidance", keep, {"conditioning": typed_socket("CONDITIONING"), "guidance": guidance}, **flux),
        _node(
            "CLIPTextEncodeFlux",
            encode_several,
            {"clip": clip, "clip_l": prompt, "t5xxl": prompt, "guidance": guidance},
            **flux,
        ),
        _node(
            "CLIPTextEncodeSDXL",
            encode_several,
            {"clip": clip, **sizes, "text_g": prompt, "text_l": prompt},
            python_module="comfy_extras.nodes_clip_sdxl",
            **plain,
        ),
        _node(
            "CLIPTextEncodeSD3",
            encode_several,
            {
                "clip": clip,
                "clip_l": prompt,
                "clip_g": prompt,
                "t5xxl": prompt,
                "empty_padding": typed_choice("none", "empty_prompt"),
            },
            python_module="comfy_extras.nodes_sd3",
            **plain,
        ),
        _node(
            "ReferenceLatent",
            keep,
            {"conditioning": typed_socket("CONDITIONING")},
            optional={"latent": typed_socket("LATENT")},
            description="Stands for an edit model's reference picture.",
            python_module="comfy_extras.nodes_edit_model",
            **{**plain, "category": "advanced/conditioning/edit_models"},
        ),
    ]
