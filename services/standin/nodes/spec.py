"""Short ways to write input definitions."""

from typing import Any

from services.standin.model.node import InputSpec

LARGEST_SIDE = 16384
LARGEST_SEED = 2**64 - 1

SAVE_HIDDEN = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
SAVE_HIDDEN_SCHEMA = {"prompt": ["PROMPT"], "extra_pnginfo": ["EXTRA_PNGINFO"]}
SCHEMA_MARKS = {"deprecated": False, "experimental": False, "api_node": False}


def socket(kind: str, **options: Any) -> InputSpec:
    """An input that takes a link, as classic nodes write it."""
    return [kind, options] if options else [kind]


def typed_socket(kind: str, **options: Any) -> InputSpec:
    """An input that takes a link, as schema nodes write it."""
    return [kind, options]


def integer(default: int, low: int, high: int, step: int | None = None, **more: Any) -> InputSpec:
    """A whole number."""
    steps = {} if step is None else {"step": step}
    return ["INT", {"default": default, "min": low, "max": high, **steps, **more}]


def number(default: float, low: float, high: float, step: float | None = None, **more: Any) -> InputSpec:
    """A number with a fraction."""
    steps = {} if step is None else {"step": step}
    return ["FLOAT", {"default": default, "min": low, "max": high, **steps, **more}]


def side(default: int = 512, low: int = 1, step: int = 1, **more: Any) -> InputSpec:
    """A width or height in pixels."""
    return integer(default, low, LARGEST_SIDE, step, **more)


def seed(**more: Any) -> InputSpec:
    """A seed of 64 bits."""
    return integer(0, 0, LARGEST_SEED, control_after_generate=True, **more)


def text(default: str | None = None, *, multiline: bool | None = None, **more: Any) -> InputSpec:
    """A text."""
    options: dict[str, Any] = {} if default is None else {"default": default}
    if multiline is not None:
        options["multiline"] = multiline
    return ["STRING", {**options, **more}]


def choice(*options: str, **more: Any) -> InputSpec:
    """One of some words, as classic nodes write it; the validation checks it."""
    return [list(options), more] if more else [list(options)]


def typed_choice(*options: str, **more: Any) -> InputSpec:
    """One of some words, as schema nodes write it; the validation, as recorded, does not check it."""
    return ["COMBO", {**more, "multiselect": False, "options": list(options)}]
