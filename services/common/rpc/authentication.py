"""From the secret in a call's metadata to its principal."""

import asyncio
import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Protocol

from services.common.clock import Clock
from services.common.errors import Unauthenticated
from services.common.rpc.metadata import TEAM, secret_of
from services.common.rpc.principal import Principal, PrincipalKind

CACHE_TTL = timedelta(seconds=5)
"""How long a revoked credential may still pass where the word of its revocation did not arrive."""
CACHE_SIZE = 10_000
SERVICE_PREFIX = "svc-"


class Authenticator(Protocol):
    """Knows one sort of secret."""

    async def authenticate(self, secret: str) -> Principal | None:
        """Whom `secret` acts for; None if it is not of this sort, Unauthenticated if it is and is no good."""
        ...


class NoAuthenticator:
    """Knows no secret: for servers that only other rooms call."""

    async def authenticate(self, secret: str) -> Principal | None:  # noqa: ARG002 # the port's
        return None


class FixedAuthenticator:
    """Knows one secret and its principal: for the dispatcher's own door."""

    def __init__(self, *, secret: str, principal: Principal) -> None:
        self._secret = secret.encode()
        self._principal = principal

    async def authenticate(self, secret: str) -> Principal | None:
        return self._principal if hmac.compare_digest(self._secret, secret.encode()) else None


@dataclass(frozen=True, kw_only=True)
class _Known:
    principal: Principal
    until: float


class CachedAuthenticator:
    """Remembers what another authenticator answered, under the secret's hash, for `CACHE_TTL`.

    Callers that ask for the same secret at once share one question. Refusals are not remembered.
    """

    def __init__(self, authenticator: Authenticator, *, clock: Clock) -> None:
        self._authenticator = authenticator
        self._clock = clock
        self._known: dict[bytes, _Known] = {}
        self._asking: dict[bytes, asyncio.Task[Principal | None]] = {}
        self._forgotten = 0

    async def authenticate(self, secret: str) -> Principal | None:
        digest = sha256(secret.encode()).digest()
        known = self._known.get(digest)
        if known is not None and known.until > time.monotonic():
            return self._in_force(known.principal)
        asking = self._asking.get(digest)
        if asking is None:
            asking = self._asking[digest] = asyncio.create_task(self._ask(secret, digest))
        # Shielded: one caller that goes away does not take the answer from the others.
        principal = await asyncio.shield(asking)
        return None if principal is None else self._in_force(principal)

    def forget(self, credential_id: str) -> None:
        """Ask again about this credential from now on, also where an answer is under way."""
        self._forgotten += 1
        for digest, known in list(self._known.items()):
            if known.principal.credential_id == credential_id:
                del self._known[digest]

    async def _ask(self, secret: str, digest: bytes) -> Principal | None:
        forgotten = self._forgotten
        try:
            principal = await self._authenticator.authenticate(secret)
        finally:
            del self._asking[digest]
        if principal is not None and forgotten == self._forgotten:
            if len(self._known) >= CACHE_SIZE:
                del self._known[next(iter(self._known))]
            self._known[digest] = _Known(principal=principal, until=time.monotonic() + CACHE_TTL.total_seconds())
        return principal

    def _in_force(self, principal: Principal) -> Principal:
        if principal.expires_at is not None and principal.expires_at <= self._clock.now():
            raise Unauthenticated("The credential has expired; make a new one.", reason="CREDENTIAL_EXPIRED")
        return principal


class Authentication:
    """The chain of a server: its service credentials, then each authenticator in turn."""

    def __init__(self, *, service_credentials: Sequence[str], authenticators: Sequence[Authenticator]) -> None:
        self._service_credentials = [credential.encode() for credential in service_credentials]
        self._authenticators = tuple(authenticators)

    async def principal_of(self, metadata: Mapping[str, str | bytes]) -> Principal:
        """The caller's principal, or Unauthenticated."""
        secret = secret_of(metadata)
        if secret is None:
            raise Unauthenticated(
                "Send a credential as `authorization: Bearer …` or `x-api-key: …`.", reason="CREDENTIAL_MISSING"
            )
        if secret.startswith(SERVICE_PREFIX):
            return self._service(secret, metadata.get(TEAM))
        for authenticator in self._authenticators:
            principal = await authenticator.authenticate(secret)
            if principal is not None:
                return principal
        raise Unauthenticated("The credential is not known here.", reason="CREDENTIAL_UNKNOWN")

    def _service(self, secret: str, team_id: str | bytes | None) -> Principal:
        # Every one is compared, so that the time tells nothing about which one was nearly right.
        matches = [hmac.compare_digest(known, secret.encode()) for known in self._service_credentials]
        if not any(matches):
            raise Unauthenticated("The service credential is not known here.", reason="CREDENTIAL_UNKNOWN")
        return Principal(
            kind=PrincipalKind.SERVICE,
            credential_id="service",
            team_id=team_id if isinstance(team_id, str) and team_id else None,
        )
