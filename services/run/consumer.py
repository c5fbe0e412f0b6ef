"""What the run room hears from other rooms."""

from comfyfleet.events.v1 import event_pb2

from services.common.events.consumer import run_consumer
from services.common.events.nats import Nats
from services.run.service.workflow_cache import CachedWorkflows

SUBJECTS = ("comfyfleet.*.registry.>",)


async def hear_registry(*, nats: Nats, workflows: CachedWorkflows) -> None:
    """Drop what is remembered of workflows that changed, until cancelled.

    Each replica hears all of it, by a consumer of its own; what it misses, the cache forgets by itself.
    """

    async def receive(_subject: str, body: bytes) -> None:
        event = event_pb2.Event.FromString(body)
        match event.WhichOneof("fact"):
            case "workflow_version_created":
                workflows.forget(event.workflow_version_created.workflow_id)
            case "workflow_deleted":
                workflows.forget(event.workflow_deleted.workflow_id)

    await run_consumer(nats=nats, durable=None, subjects=SUBJECTS, receive=receive)
