"""How callers refer to a workflow: its id, `slug` or `team/slug`, each with an optional `@version`."""

import re
from dataclasses import dataclass

from services.common.errors import InvalidArgument, Violation
from services.common.ids import is_id
from services.registry.model.slug import SLUG

MAX_CHARACTERS = 200
MAX_VERSION = 2**31 - 1
_VERSION = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class WorkflowReference:
    """A reference, parsed: either `id` or `slug` is set."""

    id: str | None = None
    slug: str | None = None
    team: str | None = None
    """Name or id of the team before the slug; None: the caller's."""
    version: int | None = None
    """None: the newest."""


def parse_reference(text: str, *, field: str = "workflow", versioned: bool = True) -> WorkflowReference:
    """The reference in `text`; InvalidArgument if it is none, or has a version where none is taken."""
    name, at, version = text.partition("@")
    if at and not versioned:
        raise _bad(field, "Give the workflow without a version.")
    if len(text) > MAX_CHARACTERS or (at and (not _VERSION.fullmatch(version) or int(version) > MAX_VERSION)):
        raise _bad(field, "Give an id, a slug or team/slug, with @ and a version number after it if you like.")
    number = int(version) if at else None
    if is_id(name.lower()):
        return WorkflowReference(id=name.lower(), version=number)
    team, slash, slug = name.rpartition("/")
    if not SLUG.fullmatch(slug) or (slash and not SLUG.fullmatch(team)):
        raise _bad(field, "Give an id, a slug or team/slug, with @ and a version number after it if you like.")
    return WorkflowReference(slug=slug, team=team if slash else None, version=number)


def _bad(field: str, message: str) -> InvalidArgument:
    return InvalidArgument(violations=[Violation(field, "BAD_REFERENCE", message)])
