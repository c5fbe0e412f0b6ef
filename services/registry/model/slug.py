"""Slugs: names of workflows in references and addresses."""

import re
import unicodedata

from services.common.ids import is_id

MAX_CHARACTERS = 63
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

RESERVED = frozenset(
    {
        "batch", "cancel", "categories", "convert", "create", "delete", "deployments", "discover", "docs", "edit",
        "evaluation-stats", "evaluations", "events", "export", "files", "healthz", "import", "inputs", "latest",
        "list", "me", "new", "openapi", "outputs", "parameters", "readyz", "run", "runners", "runs", "search",
        "settings", "slug", "stats", "teams", "templates", "undelete", "update", "v1", "versions", "wait", "watch",
        "workflows",
    }
)  # fmt: skip
"""Words of routes, of ours and of the dialects: `/workflows/<slug>` must never be read as one of them."""


def is_slug(text: str) -> bool:
    """Whether `text` may name a workflow; an id may not, since references take both."""
    return len(text) <= MAX_CHARACTERS and SLUG.fullmatch(text) is not None and text not in RESERVED and not is_id(text)


def slug_of(display_name: str) -> str:
    """A slug made from a name for people; empty where the name has no letter or digit of ASCII, or is reserved."""
    plain = unicodedata.normalize("NFKD", display_name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:MAX_CHARACTERS].rstrip("-")
    return slug if is_slug(slug) else ""
