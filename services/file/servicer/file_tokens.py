"""File tokens as credentials of this room, and of no other (EXECUTION A14)."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from services.common.clock import Clock
from services.common.errors import Unauthenticated
from services.common.grant import LEEWAY, InvalidGrant, decode_grant, public_keys
from services.common.rpc.principal import Principal, PrincipalKind

MOST_KNOWN = 1_000
"""Tokens that are remembered: those of more executions than run at once here."""


class FileTokens:
    """Knows secrets that look like a signed token; they are verified here, without asking anybody.

    A token that was good is remembered by its hash until it ends: nothing but time can make it bad.
    """

    def __init__(self, *, fleet_id: str, public_key_pems: Sequence[str], clock: Clock) -> None:
        self._fleet_id = fleet_id
        self._keys = public_keys(public_key_pems)
        self._clock = clock
        self._known: dict[bytes, Principal] = {}

    async def authenticate(self, secret: str) -> Principal | None:
        """The principal of a token; None for another sort of secret, Unauthenticated for a bad token."""
        if secret.count(".") != 2:
            return None
        now, digest = self._clock.now(), sha256(secret.encode()).digest()
        known = self._known.pop(digest, None)
        if known is None or known.expires_at is None or known.expires_at <= now:
            known = self._verified(secret, now)
            if len(self._known) >= MOST_KNOWN:
                del self._known[next(iter(self._known))]
        self._known[digest] = known  # the last in order: what was not used for longest goes first
        return known

    def _verified(self, secret: str, now: datetime) -> Principal:
        try:
            grant = decode_grant(secret, self._keys, now=now)
        except InvalidGrant as error:
            raise Unauthenticated(str(error), reason="FILE_TOKEN_INVALID") from error
        if grant.fleet_id != self._fleet_id:
            raise Unauthenticated("This file token is another fleet's.", reason="FILE_TOKEN_INVALID")
        return Principal(
            kind=PrincipalKind.RUN_GRANT,
            credential_id=f"{grant.run_id}/{grant.attempt}",
            team_id=grant.team_id,
            expires_at=grant.expires_at + LEEWAY,
            grant=grant,
        )
