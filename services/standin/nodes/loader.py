# ruff: noqa: ARG001 - a node's function takes every input of its class, by the name that clients use
"""Nodes that would load models. They load nothing, and accept any name: the stand-in has no model files."""

from typing import Any

from services.standin.call import NodeCall
from services.standin.model.node import InputSpec, NodeDefinition, Style
from services.standin.model.value import Weights
from services.standin.models import MODEL_NAMES
from services.standin.nodes.spec import choice, number, socket, typed_choice

_CLIP_TYPES = (
    *("stable_diffusion", "stable_cascade", "sd3", "stable_audio", "mochi", "ltxv", "pixart", "cosmos"),
    *("lumina2", "wan", "hidream", "chroma", "ace", "omnigen2", "qwen_image", "hunyuan_image"),
)
_DUAL_CLIP_TYPES = ("sdxl", "sd3", "flux", "hunyuan_video", "hidream", "hunyuan_image")
_DTYPES = ("default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2")
_DEVICE: dict[str, InputSpec] = {"device": [["default", "cpu"], {"advanced": True}]}


def load(call: NodeCall, kinds: tuple[str, ...], names: dict[str, Any]) -> tuple[Weights, ...]:
    """Pretends to load; a knob says how long it takes."""
    call.block(call.knobs.now.loader_seconds)
    name = " + ".join(str(one) for one in names.values())
    return tuple(Weights(kind=kind, name=name) for kind in kinds)


def patch(call: NodeCall, *, model: Any, **_: Any) -> tuple[Any]:
    """A model with some setting changed, which makes no difference here."""
    return (model,)


def patch_both(call: NodeCall, *, model: Any, clip: Any, **_: Any) -> tuple[Any, Any]:
    """A model and its text encoder with some setting changed."""
    return (model, clip)


def patch_clip(call: NodeCall, *, clip: Any, **_: Any) -> tuple[Any]:
    """A text encoder with some setting changed."""
    return (clip,)


def _loader(
    class_type: str,
    shown: str | None,
    folders: dict[str, str],
    outputs: tuple[str, ...],
    more: dict[str, InputSpec] | None = None,
    *,
    style: Style = Style.CLASSIC,
    **about: Any,
) -> NodeDefinition:
    """A loader whose `folders` name the model folder of each select input."""

    def run(call: NodeCall, **inputs: Any) -> tuple[Weights, ...]:
        return load(call, outputs, {name: inputs.get(name) for name in folders})

    write = typed_choice if style is Style.SCHEMA else choice
    return NodeDefinition(
        class_type=class_type,
        run=run,
        required={**{name: write(*MODEL_NAMES[folder]) for name, folder in folders.items()}, **(more or {})},
        free_choices=frozenset(folders),
        outputs=outputs,
        display_name=shown,
        style=style,
        **about,
    )


def nodes() -> list[NodeDefinition]:
    """The definitions of this family."""
    simple: dict[str, Any] = {"category": "loaders"}
    advanced: dict[str, Any] = {"category": "advanced/loaders"}
    clips = ("MODEL", "CLIP", "VAE")
    texts = "text_encoders"
    return [
        _loader(
            "CheckpointLoaderSimple",
            "Load Checkpoint",
            {"ckpt_name": "checkpoints"},
            clips,
            output_tooltips=("Stands for a diffusion model.", "Stands for a text encoder.", "Stands for a VAE."),
            description="Stands for loading a checkpoint; any name will do.",
            **simple,
        ),
        _loader("unCLIPCheckpointLoader", None, {"ckpt_name": "checkpoints"}, (*clips, "CLIP_VISION"), **simple),
        _loader("VAELoader", "Load VAE", {"vae_name": "vae"}, ("VAE",), **simple),
        _loader(
            "UNETLoader",
            "Load Diffusion Model",
            {"unet_name": "diffusion_models"},
            ("MODEL",),
            {"weight_dtype": choice(*_DTYPES)},
            **advanced,
        ),
        _loader(
            "CLIPLoader",
            "Load CLIP",
            {"clip_name": texts},
            ("CLIP",),
            {"type": choice(*_CLIP_TYPES)},
            optional=_DEVICE,
            **advanced,
        ),
        _loader(
            "DualCLIPLoader",
            "DualCLIPLoader",
            {"clip_name1": texts, "clip_name2": texts},
            ("CLIP",),
            {"type": choice(*_DUAL_CLIP_TYPES)},
            optional=_DEVICE,
            **advanced,
        ),
        _loader(
            "TripleCLIPLoader",
            None,
            {"clip_name1": texts, "clip_name2": texts, "clip_name3": texts},
            ("CLIP",),
            style=Style.SCHEMA,
            python_module="comfy_extras.nodes_sd3",
            **advanced,
        ),
        _loader("CLIPVisionLoader", "Load CLIP Vision", {"clip_name": "clip_vision"}, ("CLIP_VISION",), **simple),
        _loader(
            "StyleModelLoader", "Load Style Model", {"style_model_name": "style_models"}, ("STYLE_MODEL",), **simple
        ),
        _loader(
            "ControlNetLoader",
            "Load ControlNet Model",
            {"control_net_name": "controlnet"},
            ("CONTROL_NET",),
            **simple,
        ),
        _loader(
            "UpscaleModelLoader",
            "Load Upscale Model",
            {"model_name": "upscale_models"},
            ("UPSCALE_MODEL",),
            style=Style.SCHEMA,
            python_module="comfy_extras.nodes_upscale_model",
            **simple,
        ),
        *_patches(),
    ]


def _patches() -> list[NodeDefinition]:
    strength = number(1.0, -100.0, 100.0, 0.01)
    lora = choice(*MODEL_NAMES["loras"])
    tooltips = ("The same model.", "The same text encoder.")
    return [
        NodeDefinition(
            class_type="LoraLoader",
            run=patch_both,
            required={
                "model": socket("MODEL"),
                "clip": socket("CLIP"),
                "lora_name": lora,
                "strength_model": strength,
                "strength_clip": strength,
            },
            free_choices=frozenset({"lora_name"}),
            outputs=("MODEL", "CLIP"),
            output_tooltips=tooltips,
            display_name="Load LoRA",
            description="Stands for applying a LoRA; any name will do.",
            category="loaders",
        ),
        NodeDefinition(
            class_type="LoraLoaderModelOnly",
            run=patch,
            required={"model": socket("MODEL"), "lora_name": lora, "strength_model": strength},
            free_choices=frozenset({"lora_name"}),
            outputs=("MODEL",),
            output_tooltips=tooltips,
            description="Stands for applying a LoRA; any name will do.",
            category="loaders",
        ),
        NodeDefinition(
            class_type="CLIPSetLastLayer",
            run=patch_clip,
            required={
                "clip": socket("CLIP"),
                "stop_at_clip_layer": ["INT", {"default": -1, "min": -24, "max": -1, "step": 1}],
            },
            outputs=("CLIP",),
            display_name="CLIP Set Last Layer",
            category="conditioning",
        ),
        *(_model_patch(name, settings) for name, settings in _MODEL_SETTINGS.items()),
        NodeDefinition(
            class_type="FreeU_V2",
            run=patch,
            required={
                "model": socket("MODEL"),
                "b1": number(1.3, 0.0, 10.0, 0.01),
                "b2": number(1.4, 0.0, 10.0, 0.01),
                "s1": number(0.9, 0.0, 10.0, 0.01),
                "s2": number(0.2, 0.0, 10.0, 0.01),
            },
            outputs=("MODEL",),
            category="model_patches/unet",
            python_module="comfy_extras.nodes_freelunch",
        ),
        NodeDefinition(
            class_type="DifferentialDiffusion",
            run=patch,
            required={"model": ["MODEL", {}]},
            optional={"strength": number(1.0, 0.0, 1.0, 0.01)},
            outputs=("MODEL",),
            display_name="Differential Diffusion",
            marks={"experimental": True},
            category="_for_testing",
            python_module="comfy_extras.nodes_differential_diffusion",
            style=Style.SCHEMA,
        ),
    ]


_SIDE: InputSpec = ["INT", {"default": 1024, "min": 16, "max": 16384, "step": 8}]
_MODEL_SETTINGS: dict[str, dict[str, InputSpec]] = {
    "ModelSamplingSD3": {"shift": number(3.0, 0.0, 100.0, 0.01)},
    "ModelSamplingAuraFlow": {"shift": number(1.73, 0.0, 100.0, 0.01)},
    "ModelSamplingFlux": {
        "max_shift": number(1.15, 0.0, 100.0, 0.01),
        "base_shift": number(0.5, 0.0, 100.0, 0.01),
        "width": _SIDE,
        "height": _SIDE,
    },
    "RescaleCFG": {"multiplier": number(0.7, 0.0, 1.0, 0.01)},
}


def _model_patch(class_type: str, settings: dict[str, InputSpec]) -> NodeDefinition:
    return NodeDefinition(
        class_type=class_type,
        run=patch,
        required={"model": socket("MODEL"), **settings},
        outputs=("MODEL",),
        category="advanced/model",
        python_module="comfy_extras.nodes_model_advanced",
    )
