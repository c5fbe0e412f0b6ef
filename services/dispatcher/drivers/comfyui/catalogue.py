"""The node catalogue of a backend: the answer of `/object_info`, made canonical (PROTOCOL.md §2). Pure."""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from services.common.json_bytes import MAX_INTEGER, MIN_INTEGER, JsonValue, canonical_json
from services.dispatcher.drivers.comfyui.failure import storable

_MAX_DEPTH = 60


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What a backend can execute."""

    hash: str
    """SHA-256, in hex, of `content`."""
    content: bytes
    """Canonical JSON."""
    classes: frozenset[str]
    output_classes: frozenset[str]


def read_catalogue(answer: bytes) -> Catalogue:
    """The catalogue in `answer`; ValueError if it is none.

    Node packs write what JSON does not have (infinities as bounds, integers beyond 64 bits): those become null or a
    double, so that the same catalogue is taken, and hashed, everywhere.
    """
    value: Any = json.loads(answer, parse_int=_integer, parse_float=_number, parse_constant=lambda _: None)
    if not isinstance(value, dict):
        raise ValueError("the node catalogue is no object")
    content = canonical_json(_clean(value, 0))
    return Catalogue(
        hash=hashlib.sha256(content).hexdigest(),
        content=content,
        classes=frozenset(value),
        output_classes=frozenset(
            name for name, node in value.items() if isinstance(node, dict) and node.get("output_node") is True
        ),
    )


def _clean(value: Any, depth: int) -> JsonValue:
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, dict):
        return {storable(key): _clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item, depth + 1) for item in value]
    return storable(value) if isinstance(value, str) else value


def _integer(text: str) -> int | float:
    number = int(text) if len(text) <= 20 else MAX_INTEGER + 1
    return number if MIN_INTEGER <= number <= MAX_INTEGER else float(text[:300])


def _number(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None
