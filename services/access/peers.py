"""What the access room tells the others, as `comfyfleet.events.v1`."""

from comfyfleet.events.v1 import event_pb2

from services.access.model.credential import Credential
from services.common.clock import Clock
from services.common.ids import Ids
from services.common.outbox_event import OutboxEvent

FLEET = "fleet"
"""Stands for the team in subjects of facts that concern none."""


class EventFacts:
    """Encodes facts."""

    def __init__(self, *, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._ids = ids

    def credential_revoked(self, credential: Credential, *, request_id: str | None) -> OutboxEvent:
        event = event_pb2.Event(
            id=self._ids.new_id(),
            team_id=credential.team_id or "",
            request_id=request_id or "",
            credential_revoked=event_pb2.CredentialRevoked(credential_id=credential.id),
        )
        event.time.FromDatetime(self._clock.now())
        return OutboxEvent(
            id=event.id,
            subject=f"comfyfleet.{credential.team_id or FLEET}.access.credential_revoked",
            body=event.SerializeToString(),
            request_id=request_id,
        )
