"""The model files that the stand-in claims to have: made-up names, no files."""

MODEL_NAMES: dict[str, list[str]] = {
    "checkpoints": ["standin-v1.safetensors", "standin-xl.safetensors"],
    "configs": ["standin.yaml"],
    "loras": ["standin-lora.safetensors"],
    "vae": ["standin-vae.safetensors"],
    "text_encoders": ["standin-clip.safetensors", "standin-t5.safetensors"],
    "diffusion_models": ["standin-unet.safetensors"],
    "clip_vision": ["standin-clip-vision.safetensors"],
    "style_models": ["standin-style.safetensors"],
    "embeddings": ["standin-embedding.safetensors"],
    "diffusers": [],
    "vae_approx": [],
    "controlnet": ["standin-controlnet.safetensors"],
    "gligen": [],
    "upscale_models": ["standin-upscale-x2.safetensors", "standin-upscale-x4.safetensors"],
    "custom_nodes": [],
    "hypernetworks": [],
    "photomaker": [],
    "classifiers": [],
    "model_patches": [],
    "audio_encoders": [],
}
"""File names by model folder. Select inputs for models list these, and accept any other name as well."""
