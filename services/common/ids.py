"""Identifiers: UUIDv7 as text, so that they sort by the time of their making."""

from typing import Protocol
from uuid import UUID

import uuid_utils


def new_id() -> str:
    """A fresh UUIDv7 in its 36-character text form."""
    return str(uuid_utils.uuid7())


def is_id(text: str) -> bool:
    """Whether `text` is a UUID in the one form that `new_id` writes (lower case, with hyphens)."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


class Ids(Protocol):
    """Makes identifiers; tests hand in one that counts."""

    def new_id(self) -> str:
        """A fresh identifier."""
        ...


class RandomIds:
    """Real UUIDv7 identifiers."""

    def new_id(self) -> str:
        return new_id()
