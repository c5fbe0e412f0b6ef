# ruff: noqa: ARG001 - a node's function takes every input of its class, by the name that clients use
"""Nodes for moving pictures. The stand-in encodes no video: its files are one small clip that says what it is."""

from typing import Any

from services.standin.call import NodeCall
from services.standin.model.node import NodeDefinition, NodeResult, Style
from services.standin.model.value import Audio, Pictures, Video
from services.standin.nodes.audio import shipped
from services.standin.nodes.saving import save_slot
from services.standin.nodes.spec import SAVE_HIDDEN_SCHEMA, number, text, typed_choice, typed_socket


def create(call: NodeCall, *, images: Pictures, fps: float, audio: Audio | None = None) -> tuple[Video]:
    """Pictures as a video."""
    return (Video(pictures=images, fps=fps),)


def take_apart(call: NodeCall, *, video: Video) -> tuple[Pictures, Audio, float]:
    """The pictures of a video, silence, and its frames a second."""
    duration = len(video.pictures) / video.fps
    return (video.pictures, Audio(duration=duration, sample_rate=44100, channels=2), video.fps)


def save_webm(call: NodeCall, *, images: Pictures, filename_prefix: str, **_: Any) -> NodeResult:
    """The shipped WebM clip."""
    return _saved(call, filename_prefix, images, "webm")


def save_video(call: NodeCall, *, video: Video, filename_prefix: str, **_: Any) -> NodeResult:
    """The shipped MP4 clip."""
    return _saved(call, filename_prefix, video.pictures, "mp4")


def _saved(call: NodeCall, prefix: str, pictures: Pictures, suffix: str) -> NodeResult:
    path, entry = save_slot(call, prefix, pictures).next(suffix)
    path.write_bytes(shipped(f"clip.{suffix}"))
    return NodeResult(ui={"images": [entry], "animated": [True]})


def nodes() -> list[NodeDefinition]:
    """The definitions of this family."""
    about: dict[str, Any] = {
        "category": "image/video",
        "python_module": "comfy_extras.nodes_video",
        "style": Style.SCHEMA,
    }
    return [
        NodeDefinition(
            class_type="SaveWEBM",
            run=save_webm,
            required={
                "images": typed_socket("IMAGE"),
                "filename_prefix": text("ComfyUI", multiline=False),
                "codec": typed_choice("vp9", "av1"),
                "fps": number(24.0, 0.01, 1000.0, 0.01),
                "crf": ["FLOAT", {"default": 32.0, "min": 0, "max": 63.0, "step": 1}],
            },
            hidden=SAVE_HIDDEN_SCHEMA,
            output_node=True,
            marks={"experimental": True},
            **about,
        ),
        NodeDefinition(
            class_type="SaveVideo",
            run=save_video,
            required={
                "video": typed_socket("VIDEO"),
                "filename_prefix": text("video/ComfyUI", multiline=False),
                "format": typed_choice("auto", "mp4", default="auto"),
                "codec": typed_choice("auto", "h264", default="auto"),
            },
            hidden=SAVE_HIDDEN_SCHEMA,
            output_node=True,
            display_name="Save Video",
            description="Writes a small clip that is marked as a stand-in.",
            **about,
        ),
        NodeDefinition(
            class_type="CreateVideo",
            run=create,
            required={"images": typed_socket("IMAGE"), "fps": number(30.0, 1.0, 120.0, 1.0)},
            optional={"audio": typed_socket("AUDIO")},
            outputs=("VIDEO",),
            display_name="Create Video",
            description="Takes pictures together as a video.",
            **about,
        ),
        NodeDefinition(
            class_type="GetVideoComponents",
            run=take_apart,
            required={"video": typed_socket("VIDEO")},
            outputs=("IMAGE", "AUDIO", "FLOAT"),
            output_names=("images", "audio", "fps"),
            display_name="Get Video Components",
            description="Takes a video apart.",
            **about,
        ),
    ]
