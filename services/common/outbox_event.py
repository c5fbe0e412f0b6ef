"""A fact on its way out of a room, as its store keeps it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OutboxEvent:
    """One encoded fact; which bytes and which subject is decided by the room's door."""

    id: str
    """UUIDv7: the order of publishing, and `Nats-Msg-Id`."""
    subject: str
    """`comfyfleet.<team>.<room>.<event>`."""
    body: bytes
    request_id: str | None = None
