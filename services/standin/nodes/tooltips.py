"""What inputs are for, in our own words; the original has a tooltip at exactly these."""

from collections.abc import Mapping
from dataclasses import replace

from services.standin.model.node import InputSpec, NodeDefinition

TOOLTIPS: dict[str, dict[str, str]] = {
    "KSampler": {
        "model": "Stands for a diffusion model.",
        "seed": "Another seed, another picture.",
        "steps": "How many steps are reported.",
        "cfg": "Makes no difference here.",
        "sampler_name": "Makes no difference here.",
        "scheduler": "Makes no difference here.",
        "positive": "Texts that the picture depends on.",
        "negative": "More texts that the picture depends on.",
        "latent_image": "The size of the picture.",
        "denoise": "At 0 the latent stays as it is.",
    },
    "CheckpointLoaderSimple": {"ckpt_name": "Any name will do."},
    "LoraLoader": {
        "model": "Handed on.",
        "clip": "Handed on.",
        "lora_name": "Any name will do.",
        "strength_model": "Makes no difference here.",
        "strength_clip": "Makes no difference here.",
    },
    "CLIPTextEncode": {"text": "The picture depends on it.", "clip": "Stands for a text encoder."},
    "InpaintModelConditioning": {"noise_mask": "Makes no difference here."},
    "VAEDecode": {"samples": "The recipe to paint.", "vae": "Stands for a VAE."},
    "VAEDecodeTiled": {
        "temporal_size": "Makes no difference here.",
        "temporal_overlap": "Makes no difference here.",
    },
    "EmptyLatentImage": {
        "width": "In pixels.",
        "height": "In pixels.",
        "batch_size": "How many pictures.",
    },
    "EmptyLatentAudio": {"batch_size": "How many."},
    "EmptyAudio": {"duration": "In seconds.", "sample_rate": "Samples a second.", "channels": "1 or 2."},
    "SaveWEBM": {"crf": "Makes no difference here."},
    "SaveVideo": {
        "video": "What to save.",
        "filename_prefix": "Start of the file name; tokens such as %width% are filled in.",
        "format": "Always mp4 here.",
        "codec": "Makes no difference here.",
    },
    "CreateVideo": {"images": "One picture a frame.", "audio": "Makes no difference here."},
    "GetVideoComponents": {"video": "What to take apart."},
}


def with_tooltips(definition: NodeDefinition) -> NodeDefinition:
    """The definition with its tooltips."""
    words = TOOLTIPS.get(definition.class_type)
    if words is None:
        return definition
    required, optional = _hinted(definition.required, words), _hinted(definition.optional, words)
    return replace(definition, required=required, optional=optional)


def _hinted(specs: Mapping[str, InputSpec], words: Mapping[str, str]) -> dict[str, InputSpec]:
    return {
        name: [spec[0], {**(spec[1] if len(spec) > 1 else {}), "tooltip": words[name]}] if name in words else spec
        for name, spec in specs.items()
    }
