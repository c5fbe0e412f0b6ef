"""The values that flow along links.

A socket carries a list with one value for each time its node was called; these are the single values.
"""

from dataclasses import dataclass
from typing import Any

from PIL import Image

JsonObject = dict[str, Any]
Pictures = tuple[Image.Image, ...]
"""An IMAGE: a batch of RGB pictures of one size."""
Masks = tuple[Image.Image, ...]
"""A MASK: a batch of 8-bit grey pictures (255 = fully masked)."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What a loader node gives: a model, a text encoder, a VAE …; only its name exists."""

    kind: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What a text encoder gives: the texts that decide how the picture looks."""

    texts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Latent:
    """A LATENT: a size in pixels and the recipe of the picture that a VAE would decode from it."""

    width: int
    height: int
    batch_size: int = 1
    seed: int | None = None
    texts: tuple[str, ...] = ()
    pictures: Pictures = ()


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """A GUIDER: the conditioning that a custom sampler follows."""

    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Audio:
    """An AUDIO of silence. Duration in seconds."""

    duration: float
    sample_rate: int
    channels: int


@dataclass(frozen=True, kw_only=True)
class Video:
    """A VIDEO: its pictures and frames a second."""

    pictures: Pictures
    fps: float
