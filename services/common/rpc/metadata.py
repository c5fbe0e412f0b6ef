"""Metadata keys of every call, and the request id that crosses all rooms."""

import re
from collections.abc import Mapping
from contextvars import ContextVar

from services.common.ids import new_id

AUTHORIZATION = "authorization"
API_KEY = "x-api-key"
REQUEST_ID = "x-request-id"
TEAM = "x-comfyfleet-team"

_PRINTABLE = re.compile(r"[\x21-\x7e]{1,128}")
_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def for_team(team_id: str) -> tuple[tuple[str, str], ...]:
    """Metadata of a call that a room makes for a team with its service credential."""
    return ((TEAM, team_id),)


def bearer(secret: str) -> tuple[tuple[str, str], ...]:
    """Metadata of a call that carries `secret`."""
    return ((AUTHORIZATION, f"Bearer {secret}"),)


def secret_of(metadata: Mapping[str, str | bytes]) -> str | None:
    """The secret that a call carries, by `authorization: Bearer …` or `x-api-key: …`; None if none."""
    authorization = metadata.get(AUTHORIZATION)
    if isinstance(authorization, str):
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() == "bearer" and secret.strip():
            return secret.strip()
    key = metadata.get(API_KEY)
    return key if isinstance(key, str) and key else None


def request_id_of(metadata: Mapping[str, str | bytes]) -> str:
    """The call's `x-request-id` if it is 1 to 128 printable characters, else a new one."""
    given = metadata.get(REQUEST_ID)
    return given if isinstance(given, str) and _PRINTABLE.fullmatch(given) else new_id()


def current_request_id() -> str | None:
    """The request id of what this task is doing; None outside of any request."""
    return _request_id.get()


def set_request_id(request_id: str) -> None:
    """Make `request_id` that of this task, its children and the calls that they make."""
    _request_id.set(request_id)
