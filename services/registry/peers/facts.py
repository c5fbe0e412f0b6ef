"""The registry's facts on their way to JetStream."""

from collections.abc import Sequence

from comfyfleet.events.v1 import event_pb2

from services.common.outbox_event import OutboxEvent
from services.registry.model.fact import Fact, FactType
from services.registry.store import FactStore


class FactOutbox:
    """The `Outbox` of the common relay over the room's facts."""

    def __init__(self, *, store: FactStore) -> None:
        self._store = store

    async def unpublished(self, limit: int) -> Sequence[OutboxEvent]:
        return [fact_to_event(fact) for fact in await self._store.unpublished(limit)]

    async def mark_published(self, ids: Sequence[str]) -> None:
        await self._store.remove(ids)


def fact_to_event(fact: Fact) -> OutboxEvent:
    """The fact as it is published, on `comfyfleet.<team>.registry.<fact>`."""
    event = event_pb2.Event(id=fact.id, team_id=fact.team_id, request_id=fact.request_id or "")
    event.time.FromDatetime(fact.time)
    match fact.type:
        case FactType.WORKFLOW_VERSION_CREATED:
            event.workflow_version_created.workflow_id = fact.workflow_id
            event.workflow_version_created.slug = fact.slug
            event.workflow_version_created.version = fact.version
        case FactType.WORKFLOW_DELETED:
            event.workflow_deleted.workflow_id = fact.workflow_id
            event.workflow_deleted.slug = fact.slug
    return OutboxEvent(
        id=fact.id,
        subject=f"comfyfleet.{fact.team_id}.registry.{event.WhichOneof('fact')}",
        body=event.SerializeToString(),
        request_id=fact.request_id,
    )
