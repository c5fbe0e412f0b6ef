"""The word that a credential was revoked, to every process that may remember it."""

from collections.abc import Callable

from comfyfleet.events.v1 import event_pb2

from services.common.events.consumer import run_consumer
from services.common.events.nats import Nats

SUBJECT = "comfyfleet.*.access.credential_revoked"


async def follow_revocations(*, nats: Nats, forget: Callable[[str], None]) -> None:
    """Call `forget(credential_id)` for every revocation from now on, until cancelled.

    `forget` is the server's. What is missed while NATS is away is found by the cache's TTL and the server's sweep.
    """

    async def receive(_subject: str, body: bytes) -> None:
        forget(event_pb2.Event.FromString(body).credential_revoked.credential_id)

    await run_consumer(nats=nats, durable=None, subjects=[SUBJECT], receive=receive)
