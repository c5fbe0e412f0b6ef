"""What the names of ComfyUI's own node classes tell where no catalogue does."""

from services.common.parameters import ParameterType
from services.registry.discovery.catalogue import InputSpec

_IMAGE = InputSpec(type=ParameterType.FILE, accept=("image/*",), from_catalogue=False)
_AUDIO = InputSpec(type=ParameterType.FILE, accept=("audio/*",), from_catalogue=False)
_VIDEO = InputSpec(type=ParameterType.FILE, accept=("video/*",), from_catalogue=False)

_FILE_INPUTS = {
    ("LoadImage", "image"): _IMAGE,
    ("LoadImageMask", "image"): _IMAGE,
    ("LoadAudio", "audio"): _AUDIO,
    ("LoadVideo", "file"): _VIDEO,
    ("VHS_LoadVideo", "video"): _VIDEO,
    ("VHS_LoadAudioUpload", "audio"): _AUDIO,
}
_OUTPUT_STARTS = ("Save", "Preview")
_OUTPUT_CLASSES = frozenset({"VHS_VideoCombine"})


def known_input(class_type: str, name: str) -> InputSpec | None:
    """The input, if it is one of those that name an uploaded file."""
    return _FILE_INPUTS.get((class_type, name))


def looks_like_output(class_type: str) -> bool:
    """Whether a class is named like an output node."""
    return class_type.startswith(_OUTPUT_STARTS) or class_type in _OUTPUT_CLASSES
