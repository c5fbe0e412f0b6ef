"""The trivial graph of the promises: EmptyImage 64x64 in a colour nobody had before, then SaveImage."""

import itertools
import json
import secrets
from typing import Any


class TrivialGraphs:
    """Graphs that no cache has seen."""

    def __init__(self) -> None:
        self._colours = itertools.count(secrets.randbelow(1 << 22))

    def next(self, *, prefix: str = "bench") -> dict[str, Any]:
        """A graph in a new colour."""
        colour = next(self._colours) % (1 << 24)
        return {
            "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": colour}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
        }


def as_bytes(graph: dict[str, Any]) -> bytes:
    """The graph as the contract wants it."""
    return json.dumps(graph).encode("utf-8")
