"""Facts as the event bus carries them."""

from collections.abc import Sequence

from comfyfleet.events.v1 import event_pb2

from services.common.outbox_event import OutboxEvent
from services.file.model.fact import Fact, FactType
from services.file.store.outbox import FactStore


class FactOutbox:
    """The relay's view of the room's facts."""

    def __init__(self, *, store: FactStore) -> None:
        self._store = store

    async def unpublished(self, limit: int) -> Sequence[OutboxEvent]:
        return [fact_to_outbox(fact) for fact in await self._store.unpublished(limit)]

    async def mark_published(self, ids: Sequence[str]) -> None:
        await self._store.remove(ids)


def fact_to_outbox(fact: Fact) -> OutboxEvent:
    """The message of a fact, and its subject `comfyfleet.<team>.file.file_stored` or `…file_deleted`."""
    event = event_pb2.Event(id=fact.id, team_id=fact.team_id, request_id=fact.request_id or "")
    event.time.FromDatetime(fact.at)
    if fact.type is FactType.FILE_STORED:
        event.file_stored.file_id = fact.file_id
        event.file_stored.sha256 = fact.sha256
        event.file_stored.size_bytes = fact.size_bytes
        event.file_stored.origin_run_id = fact.origin_run_id or ""
    else:
        event.file_deleted.file_id = fact.file_id
        event.file_deleted.size_bytes = fact.size_bytes
    subject = f"comfyfleet.{fact.team_id}.file.{fact.type.value.lower()}"
    return OutboxEvent(id=fact.id, subject=subject, body=event.SerializeToString(), request_id=fact.request_id)
