# ruff: noqa: ARG001 - a node's function takes every input of its class, by the name that clients use
"""Nodes for sound. FLAC is written for real; what cannot be encoded here is a small file marked as a stand-in."""

import json
from importlib import resources
from typing import Any

from services.standin.call import NodeCall
from services.standin.flac import silence
from services.standin.folders import Folders, SaveSlot
from services.standin.model.node import NodeDefinition, NodeResult
from services.standin.model.value import Audio, Latent
from services.standin.nodes.loading import check_file, fingerprint
from services.standin.nodes.saving import save_slot, temp_slot
from services.standin.nodes.spec import LARGEST_SEED, SAVE_HIDDEN, choice, integer, number, socket, text

_MODULE = "comfy_extras.nodes_audio"
_SUFFIXES = (".flac", ".mp3", ".opus", ".ogg", ".wav", ".m4a", ".aac", ".mp4", ".webm")
LONGEST_SECONDS = 600.0


def shipped(name: str) -> bytes:
    """A small valid file that comes with the stand-in and says that it is one."""
    return resources.files("services.standin").joinpath("media", name).read_bytes()


def empty(call: NodeCall, *, duration: float, sample_rate: int, channels: int) -> tuple[Audio]:
    """Silence."""
    return (Audio(duration=duration, sample_rate=sample_rate, channels=channels),)


def empty_latent(call: NodeCall, *, seconds: float, batch_size: int) -> tuple[Latent]:
    """Nothing yet."""
    return (Latent(width=64, height=64, batch_size=batch_size),)


def load(call: NodeCall, *, audio: str) -> tuple[Audio]:
    """A second of silence: the stand-in decodes no sound, but the file has to be there."""
    call.folders.input_path(audio).stat()
    return (Audio(duration=1.0, sample_rate=44100, channels=2),)


def save_flac(call: NodeCall, *, audio: Audio, filename_prefix: str) -> NodeResult:
    """A FLAC file of the sound's length, up to ten minutes."""
    return _saved(save_slot(call, filename_prefix), "flac", _flac(call, audio))


def preview(call: NodeCall, *, audio: Audio) -> NodeResult:
    """A FLAC file in the temp folder."""
    return _saved(temp_slot(call), "flac", _flac(call, audio))


def save_mp3(call: NodeCall, *, audio: Audio, filename_prefix: str, quality: str = "V0") -> NodeResult:
    """The shipped MP3 file."""
    return _saved(save_slot(call, filename_prefix), "mp3", shipped("silence.mp3"))


def save_opus(call: NodeCall, *, audio: Audio, filename_prefix: str, quality: str = "128k") -> NodeResult:
    """The shipped Opus file."""
    return _saved(save_slot(call, filename_prefix), "opus", shipped("silence.opus"))


def _flac(call: NodeCall, audio: Audio) -> bytes:
    comments = {"prompt": json.dumps(call.prompt)}
    comments |= {key: json.dumps(value) for key, value in (call.extra_pnginfo or {}).items()}
    samples = round(min(audio.duration, LONGEST_SECONDS) * audio.sample_rate)
    return silence(samples=samples, sample_rate=audio.sample_rate, channels=audio.channels, comments=comments)


def _saved(slot: SaveSlot, suffix: str, content: bytes) -> NodeResult:
    path, entry = slot.next(suffix)
    path.write_bytes(content)
    return NodeResult(ui={"audio": [entry]})


def _check_audio(folders: Folders, *, audio: Any) -> bool | str:
    return True if check_file(folders, image=audio) is True else f"Invalid audio file: {audio}"


def _files(folders: Folders) -> list[str]:
    return folders.input_names(_SUFFIXES)


def _definition(class_type: str, run: Any, required: dict[str, Any], **more: Any) -> NodeDefinition:
    return NodeDefinition(
        class_type=class_type, run=run, required=required, category="audio", python_module=_MODULE, **more
    )


def nodes() -> list[NodeDefinition]:
    """The definitions of this family."""
    saved = {"audio": socket("AUDIO"), "filename_prefix": text("audio/ComfyUI")}
    output = {"hidden": SAVE_HIDDEN, "output_node": True}
    return [
        _definition(
            "EmptyAudio",
            empty,
            {
                "duration": number(60.0, 0.0, LARGEST_SEED, 0.01),
                "sample_rate": ["INT", {"default": 44100}],
                "channels": integer(2, 1, 2),
            },
            outputs=("AUDIO",),
            display_name="Empty Audio",
        ),
        NodeDefinition(
            class_type="EmptyLatentAudio",
            run=empty_latent,
            required={"seconds": number(47.6, 1.0, 1000.0, 0.1), "batch_size": integer(1, 1, 4096)},
            outputs=("LATENT",),
            display_name="Empty Latent Audio",
            category="latent/audio",
            python_module=_MODULE,
        ),
        _definition(
            "LoadAudio",
            load,
            {"audio": [[], {"audio_upload": True}]},
            listings={"audio": _files},
            validate=_check_audio,
            validated_inputs=("audio",),
            fingerprint=lambda folders, *, audio: fingerprint(folders, image=audio),
            outputs=("AUDIO",),
            display_name="Load Audio",
        ),
        _definition("SaveAudio", save_flac, saved, display_name="Save Audio (FLAC)", **output),
        _definition(
            "SaveAudioMP3",
            save_mp3,
            {**saved, "quality": choice("V0", "128k", "320k", default="V0")},
            display_name="Save Audio (MP3)",
            **output,
        ),
        _definition(
            "SaveAudioOpus",
            save_opus,
            {**saved, "quality": choice("64k", "96k", "128k", "192k", "320k", default="128k")},
            display_name="Save Audio (Opus)",
            **output,
        ),
        _definition("PreviewAudio", preview, {"audio": socket("AUDIO")}, display_name="Preview Audio", **output),
    ]
