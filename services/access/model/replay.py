"""Requests that were answered before."""

from dataclasses import dataclass
from hashlib import sha256

from services.common.json_bytes import JsonValue, canonical_json


@dataclass(frozen=True, kw_only=True)
class Replay:
    """How a repeated request is recognised: the same maker, the same id, the same content."""

    maker: str
    request_id: str
    digest: bytes


def replay_of(maker: str, request_id: str, content: JsonValue) -> Replay | None:
    """The mark of a request; None where it has no id."""
    if not request_id:
        return None
    return Replay(maker=maker, request_id=request_id, digest=sha256(canonical_json(content)).digest())
