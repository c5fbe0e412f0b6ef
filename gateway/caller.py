"""Who calls, as far as the porch cares: what is handed on to the rooms, which alone decide."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.requests import Request

from services.common.errors import Unauthenticated

SERVICE_PREFIX = "svc-"
INNER_METADATA = frozenset({"x-comfyfleet-team"})
"""Only rooms say for which team they act."""

FORWARDED_HEADERS = (b"authorization", b"x-api-key", b"x-team-id", b"x-organization-id")
_CREDENTIALS = ("authorization", "x-api-key")
_SEPARATORS = re.compile(r"[\s,;=\"']+")
_PRINTABLE = re.compile(r"[\x20-\x7e]{0,8192}")

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Caller:
    """What one request brings along."""

    metadata: Metadata
    """For each call made on its behalf."""
    request_id: str
    url: str
    """Scheme and authority under which it reached us, without a final slash: the start of links."""


def caller_of(request: Request) -> Caller:
    """The caller of `request`, as the door wrote it down."""
    caller: Caller = request.scope["comfyfleet.caller"]
    return caller


def metadata_of(headers: Iterable[tuple[bytes, bytes]]) -> Metadata:
    """The headers that rooms get to see; `Unauthenticated` for the service credential or unprintable text."""
    found: list[tuple[str, str]] = []
    for name, value in headers:
        if name in FORWARDED_HEADERS:
            text = value.decode("latin-1").strip()
            if not _PRINTABLE.fullmatch(text):
                message = f"The header {name.decode()} is longer than 8192 characters, or not printable ASCII."
                raise Unauthenticated(message, reason="BAD_CREDENTIAL")
            found.append((name.decode(), text))
    refuse_service_credential(found)
    return tuple(found)


def refuse_service_credential(metadata: Iterable[tuple[str, str | bytes]]) -> None:
    """`Unauthenticated` where a room's own credential comes in from outside."""
    for key, value in metadata:
        if key not in _CREDENTIALS or not isinstance(value, str) or SERVICE_PREFIX not in value:
            continue
        if any(word.startswith(SERVICE_PREFIX) for word in _SEPARATORS.split(value)):
            raise Unauthenticated("This credential is not accepted here.", reason="CREDENTIAL_REFUSED")
