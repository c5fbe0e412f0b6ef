"""Page tokens: opaque to callers, bound to the query that they continue."""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from services.common.errors import InvalidArgument, Violation
from services.common.json_bytes import InvalidJson, JsonValue, canonical_json, parse_json

MAX_CHARACTERS = 4096
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class PageToken:
    """Where a list goes on."""

    query: str
    """Hash of everything else that the request said."""
    position: tuple[JsonValue, ...]
    """Values of the ordering columns in the last row seen."""

    def encode(self) -> str:
        """The token as text of the URL-safe alphabet."""
        body = canonical_json([_VERSION, self.query, list(self.position)])
        return urlsafe_b64encode(body).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, *, query: str) -> "PageToken":
        """The token in `text`; InvalidArgument BAD_PAGE_TOKEN if it is none or continues another query.

        It is not signed: what it holds only narrows a query that is bound to the caller's team anyway.
        """
        try:
            if len(text) > MAX_CHARACTERS:
                raise ValueError
            body = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            match parse_json(body, max_bytes=MAX_CHARACTERS, max_depth=3):
                case [int(version), str(made_for), list(position)] if version == _VERSION:
                    token = cls(query=made_for, position=tuple(position))
                case _:
                    raise ValueError
        except (ValueError, InvalidJson):
            raise bad_page_token("Give a page token as it was given.") from None
        if token.query != query:
            raise bad_page_token("Give the token with the same filter and order as before.")
        return token


def query_hash(*parts: str) -> str:
    """A short hash that tells queries apart."""
    return hashlib.sha256(canonical_json(list(parts))).hexdigest()[:16]


def bad_page_token(message: str) -> InvalidArgument:
    """The refusal of a page token."""
    return InvalidArgument(violations=[Violation("page_token", "BAD_PAGE_TOKEN", message)])
