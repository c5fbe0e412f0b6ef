"""File tokens: signed for one execution each, kept while they are good, renewed in time (EXECUTION A14)."""

from collections.abc import Collection
from datetime import datetime, timedelta

from services.common.clock import Clock
from services.common.grant import RunGrant, encode_grant, key_id
from services.common.grant import private_key as read_private_key
from services.run.model.desire import FileToken, HeldExecution

LIFE = timedelta(minutes=10)
"""How long a token is good; a newer one comes with the stream after half of it."""


class GrantSigner:
    """Signs file tokens with the private key of the settings."""

    def __init__(self, *, private_key: str, fleet_id: str, max_output_bytes: int, clock: Clock) -> None:
        self._private_key = read_private_key(private_key)
        self._kid = key_id(self._private_key.public_key())
        self._fleet_id = fleet_id
        self._max_output_bytes = max_output_bytes
        self._clock = clock

    def sign(self, held: HeldExecution, input_ids: Collection[str]) -> FileToken:
        """A fresh token for one execution, which reads those files."""
        expires_at = self._clock.now() + LIFE
        grant = RunGrant(
            fleet_id=self._fleet_id,
            team_id=held.team_id,
            run_id=held.run_id,
            attempt=held.attempt,
            input_ids=frozenset(input_ids),
            max_bytes=self._max_output_bytes,
            expires_at=expires_at,
        )
        return FileToken(text=encode_grant(grant, self._private_key, self._kid), expires_at=expires_at)

    def is_fresh(self, token: FileToken, now: datetime) -> bool:
        """Whether it need not be renewed yet."""
        return token.expires_at - now > LIFE / 2
