"""Node catalogues: what a backend's `/object_info` says of its node classes and their inputs."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.common.json_bytes import MAX_INTEGER, MIN_INTEGER, JsonValue, canonical_json
from services.common.parameters import ParameterType

MAX_OPTIONS = 1000
MAX_OPTION_BYTES = 32 * 1024
"""A choice longer than this, such as thousands of model files, becomes a plain string: versions keep their options."""
MAX_TOOLTIP_CHARACTERS = 300

_TYPES = {
    "INT": ParameterType.INTEGER,
    "FLOAT": ParameterType.NUMBER,
    "STRING": ParameterType.STRING,
    "BOOLEAN": ParameterType.BOOLEAN,
    "BOOL": ParameterType.BOOLEAN,
}
_UPLOADS = {
    "image_upload": ("image/*",),
    "animated_image_upload": ("image/*",),
    "video_upload": ("video/*",),
    "audio_upload": ("audio/*",),
    "file_upload": (),
}


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """One input of a node class, as far as it is a value that people set."""

    type: ParameterType
    minimum: int | float | None = None
    maximum: int | float | None = None
    step: int | float | None = None
    options: tuple[JsonValue, ...] = ()
    accept: tuple[str, ...] = ()
    multiple: bool = False
    tooltip: str = ""
    from_catalogue: bool = True
    """False: told by the name of the class alone."""


@dataclass(frozen=True, kw_only=True)
class NodeClass:
    """One node class."""

    output_node: bool
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    """Those that take a literal; inputs that only links can fill are left out."""


@dataclass(frozen=True, kw_only=True)
class NodeCatalogue:
    """The node classes of one backend."""

    hash: str
    classes: Mapping[str, NodeClass]


def read_catalogue(hash_: str, body: bytes) -> NodeCatalogue:
    """The catalogue in `body`; ValueError if it is no JSON. What we do not understand of it is left out.

    Not parsed strictly: backends have bounds beyond 64 bits, and Infinity. A large one takes a second: not for the
    event loop.
    """
    try:
        value = json.loads(body)
    except RecursionError:
        raise ValueError("A node catalogue is nested too deeply.") from None
    classes = value if isinstance(value, dict) else {}
    return NodeCatalogue(
        hash=hash_, classes={name: _node_class(made) for name, made in classes.items() if isinstance(made, dict)}
    )


def _node_class(made: dict[str, Any]) -> NodeClass:
    inputs: dict[str, InputSpec] = {}
    groups = made.get("input")
    for group in ("required", "optional"):
        declared = groups.get(group) if isinstance(groups, dict) else None
        for name, spec in declared.items() if isinstance(declared, dict) else ():
            read = _input_spec(spec)
            if read is not None:
                inputs[name] = read
    return NodeClass(output_node=made.get("output_node") is True, inputs=inputs)


def _input_spec(spec: Any) -> InputSpec | None:
    """An input is `[type]` or `[type, attributes]`; a choice is `[[options], …]` or `["COMBO", {"options": …}]`."""
    if not isinstance(spec, list) or not spec:
        return None
    kind = spec[0]
    attributes = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    tooltip = attributes.get("tooltip")
    tooltip = _storable(tooltip[:MAX_TOOLTIP_CHARACTERS]) if isinstance(tooltip, str) else ""
    for upload, accept in _UPLOADS.items():
        if attributes.get(upload) is True:
            return InputSpec(type=ParameterType.FILE, accept=accept, tooltip=tooltip)
    if isinstance(kind, list):
        return _choice(kind, attributes, tooltip)
    if kind == "COMBO":
        return _choice(attributes.get("options"), attributes, tooltip)
    type_ = _TYPES.get(kind) if isinstance(kind, str) else None
    if type_ is None:
        return None
    if type_ not in (ParameterType.INTEGER, ParameterType.NUMBER):
        return InputSpec(type=type_, tooltip=tooltip)
    low, high = _number(type_, attributes.get("min")), _number(type_, attributes.get("max"))
    if low is not None and high is not None and low > high:
        low = high = None
    step = _number(type_, attributes.get("step"))
    return InputSpec(
        type=type_, minimum=low, maximum=high, step=step if step is not None and step > 0 else None, tooltip=tooltip
    )


def _choice(options: Any, attributes: dict[str, Any], tooltip: str) -> InputSpec:
    scalars = [o for o in options if _is_scalar(o)] if isinstance(options, list) else []
    distinct = tuple({canonical_json(option): option for option in scalars}.values())
    fits = len(distinct) <= MAX_OPTIONS and len(canonical_json(list(distinct))) <= MAX_OPTION_BYTES
    multiple = attributes.get("multiselect") is True
    if distinct and fits:
        return InputSpec(type=ParameterType.SELECT, options=distinct, multiple=multiple, tooltip=tooltip)
    return InputSpec(type=ParameterType.STRING, multiple=multiple, tooltip=tooltip)


def _number(type_: ParameterType, value: Any) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return max(MIN_INTEGER, min(MAX_INTEGER, value))
    if not math.isfinite(value):
        return None
    if type_ is ParameterType.INTEGER:
        return max(MIN_INTEGER, min(MAX_INTEGER, int(value))) if value.is_integer() else None
    return value


def _storable(text: str) -> str:
    """`text` without NUL and lone surrogates, which JSON may spell."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "")


def _is_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return value == _storable(value)
    return isinstance(value, int) and MIN_INTEGER <= value <= MAX_INTEGER
