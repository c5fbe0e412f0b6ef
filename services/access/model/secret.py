"""Secrets of credentials: `sk-<public id>_<secret>`, 256 random bits, kept as a hash only.

SHA-256 and not a slow hash: nobody guesses 256 bits, and a slow one would hand attackers our processors.
"""

import hmac
import secrets
from dataclasses import dataclass, field
from hashlib import sha256

_PUBLIC_ID_BYTES = 8
_SECRET_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A whole secret, in the one moment in which it exists on our side."""

    text: str = field(repr=False)
    public_id: str
    """Finds the record; no secret itself."""

    @property
    def prefix(self) -> str:
        """What lists show: enough to tell keys apart."""
        return self.text.partition("_")[0]

    @property
    def digest(self) -> bytes:
        """What is stored."""
        return sha256(self.text.encode()).digest()

    def matches(self, digest: bytes) -> bool:
        """Whether `digest` is that of this secret, in constant time."""
        return hmac.compare_digest(self.digest, digest)


def new_secret(prefix: str) -> Secret:
    """A fresh secret that begins with `prefix` (`sk-`, `ak-`)."""
    public_id = secrets.token_hex(_PUBLIC_ID_BYTES)
    return Secret(text=f"{prefix}{public_id}_{secrets.token_urlsafe(_SECRET_BYTES)}", public_id=public_id)


def secret_of(text: str) -> Secret | None:
    """`text` as a secret; None if it has not the form of one."""
    head, separator, rest = text.partition("_")
    public_id = head.partition("-")[2]
    well_formed = separator and rest and len(public_id) == 2 * _PUBLIC_ID_BYTES and public_id.isalnum()
    return Secret(text=text, public_id=public_id) if well_formed and text.isascii() else None
