"""What the use cases need from outside."""

from typing import Protocol

from services.access.model.credential import Credential
from services.common.outbox_event import OutboxEvent


class Facts(Protocol):
    """Words for what happened, as they are told to other rooms."""

    def credential_revoked(self, credential: Credential, *, request_id: str | None) -> OutboxEvent:
        """Whoever remembers this credential must forget it."""
        ...


class Wake(Protocol):
    """Whom to tell that the outbox has something."""

    def __call__(self) -> None: ...
