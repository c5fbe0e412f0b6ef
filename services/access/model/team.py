"""Teams and their names."""

import re
from dataclasses import dataclass
from datetime import datetime

from services.common.errors import Violation

MAX_NAME = 63
MAX_DISPLAY_NAME = 200
RESERVED_NAMES = frozenset(
    {
        *(
            "admin",
            "api",
            "assets",
            "comfy",
            "comfycontrol",
            "comfyui",
            "console",
            "credentials",
            "cyberun",
            "discover",
        ),
        *("docs", "files", "fleet", "flowscale", "health", "healthz", "keys", "me", "metrics", "openapi", "readyz"),
        *("runcomfy", "runflow", "runners", "runs", "static", "teams", "v1", "v2", "workflows"),
    }
)
"""Words of routes: `/v1/workflows/{team}/{slug}` must not be ambiguous."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Team:
    """The tenant. Everything belongs to one."""

    id: str
    name: str
    """Unique in the installation, never changed."""
    display_name: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class NewTeam:
    """A wish for a team."""

    name: str
    display_name: str = ""
    """Empty: the name."""
    request_id: str = ""
    """Empty: no replay is recognised."""

    def violations(self) -> list[Violation]:
        """Everything that is wrong with it."""
        found = []
        if len(self.name) > MAX_NAME or not _NAME.fullmatch(self.name):
            message = f"Use 1 to {MAX_NAME} lower-case letters, digits and single hyphens between them."
            found.append(Violation("name", "BAD_NAME", message))
        elif self.name in RESERVED_NAMES:
            found.append(Violation("name", "RESERVED_NAME", f"{self.name} is a word of a route; choose another name."))
        if len(self.display_name) > MAX_DISPLAY_NAME or not storable(self.display_name):
            message = f"Use at most {MAX_DISPLAY_NAME} characters, without control characters."
            found.append(Violation("display_name", "BAD_DISPLAY_NAME", message))
        return found + request_id_violations(self.request_id)


def request_id_violations(request_id: str) -> list[Violation]:
    """What is wrong with a request id: one that cannot be stored exactly."""
    if len(request_id) <= 128 and storable(request_id):
        return []
    return [Violation("request_id", "BAD_REQUEST_ID", "Use at most 128 characters, without control characters.")]


def storable(text: str) -> bool:
    """Whether `text` is printable in one line; NUL cannot be stored in PostgreSQL at all."""
    return not any(ord(character) < 32 or ord(character) == 127 for character in text)
