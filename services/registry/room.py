"""The registry, wired."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import grpc
from comfyfleet.registry.v1 import registry_pb2_grpc

from services.common.background import background
from services.common.clock import Clock, SystemClock
from services.common.events.nats import Nats
from services.common.events.outbox import Relay
from services.common.ids import Ids, RandomIds
from services.common.rpc.server import Member
from services.common.sql import Database
from services.registry.consumer import RegistryConsumer
from services.registry.peers import FactOutbox, RunnerCatalogues
from services.registry.service import CatalogueLibrary, Catalogues, WorkflowService
from services.registry.service.catalogue_library import TTL
from services.registry.service.content import ContentMaker
from services.registry.servicer import RULES, RegistryServicer
from services.registry.store import CatalogueStore, FactStore, WorkflowListings, WorkflowStore

AT_ONCE = timedelta(0)
"""New versions are rare, and until the run room hears of one it pins the version before: nothing is worth gathering."""


@asynccontextmanager
async def open_room(
    *,
    database: Database,
    run_channel: grpc.aio.Channel | None = None,
    catalogues: Catalogues | None = None,
    nats: Nats | None = None,
    clock: Clock | None = None,
    ids: Ids | None = None,
    catalogue_ttl: timedelta = TTL,
) -> AsyncIterator[list[Member]]:
    """The registry over `database`.

    `run_channel` goes to the run room with the service credential; `catalogues` may stand in its place. Without `nats`
    facts wait in the outbox, and news of catalogues come after `catalogue_ttl`.
    """
    clock = clock or SystemClock()
    if catalogues is None:
        assert run_channel is not None, "the registry needs a way to the run room"
        catalogues = RunnerCatalogues(channel=run_channel)
    library = CatalogueLibrary(
        catalogues=catalogues, store=CatalogueStore(database=database), clock=clock, ttl=catalogue_ttl
    )
    outbox = FactOutbox(store=FactStore(database=database))
    relay = None if nats is None else Relay(outbox=outbox, nats=nats, gather=AT_ONCE)
    service = WorkflowService(
        store=WorkflowStore(database=database, ids=ids or RandomIds()),
        listings=WorkflowListings(database=database),
        content=ContentMaker(library=library),
        clock=clock,
        told=relay.wake if relay is not None else _nobody,
    )
    servicer = RegistryServicer(service=service)

    def register(server: grpc.aio.Server) -> None:
        registry_pb2_grpc.add_RegistryServiceServicer_to_server(servicer, server)

    members = [Member(name="registry", register=register, rules=RULES)]
    if nats is None or relay is None:
        yield members
        return
    consumer = RegistryConsumer(nats=nats, library=library)
    async with background(registry_relay=relay.run(), registry_consumer=consumer.run()):
        yield members


def _nobody() -> None:
    """There is no relay to wake."""
