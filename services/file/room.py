"""The file room, wired."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from comfyfleet.file.v1 import file_pb2_grpc

from services.common.background import background
from services.common.clock import Clock, SystemClock
from services.common.events.consumer import run_consumer
from services.common.events.nats import Nats
from services.common.events.outbox import Relay
from services.common.ids import RandomIds
from services.common.rpc.server import Member
from services.common.settings import Settings
from services.common.sql import Database
from services.file.blobs import Blobs
from services.file.blobs.local import open_local_blobs
from services.file.consumer import DURABLE, SUBJECTS, RunEnds
from services.file.peers.facts import FactOutbox
from services.file.service.deleting import Deleting
from services.file.service.reading import Reading
from services.file.service.run_files import RunFiles
from services.file.service.runs import Runs
from services.file.service.storing import Storing, StoringRules
from services.file.service.sweep import INTERVAL, Sweep
from services.file.servicer.file_servicer import RULES, FileServicer
from services.file.servicer.file_tokens import FileTokens
from services.file.store.bindings import BindingStore
from services.file.store.files import FileStore
from services.file.store.listing import FileListing
from services.file.store.outbox import FactStore

BLOBS = "blobs"
GATHER = timedelta(seconds=1)
"""Nobody waits for word of a file: its facts are published once a second."""


@asynccontextmanager
async def open_room(
    *, settings: Settings, database: Database, nats: Nats, runs: Runs, clock: Clock | None = None
) -> AsyncIterator[list[Member]]:
    """The file room over its database and the blobs in its folder, with its loops running.

    1. Blobs open, and what a dead process left on its way in goes. 2. The loops start: relay, consumer, sweep (at once,
    then every INTERVAL). 3. The member may be served. A loop that dies takes the process down.
    """
    clock = clock or SystemClock()
    async with open_local_blobs(settings.folder_of("file") / BLOBS) as blobs:
        room = _Room(settings=settings, database=database, blobs=blobs, runs=runs, clock=clock)
        relay = Relay(outbox=FactOutbox(store=FactStore(database=database)), nats=nats, gather=GATHER)
        room.storing.on_stored = relay.wake
        ends = RunEnds(run_files=room.run_files)
        listening = run_consumer(nats=nats, durable=DURABLE, subjects=SUBJECTS, receive=ends.receive)
        async with background(file_relay=relay.run(), file_consumer=listening, file_sweep=_sweep(room.sweep)):
            yield [room.member]


class _Room:
    """The walls, put together."""

    def __init__(self, *, settings: Settings, database: Database, blobs: Blobs, runs: Runs, clock: Clock) -> None:
        store, bindings = FileStore(database=database), BindingStore(database=database)
        rules = StoringRules(max_file_bytes=settings.max_file_bytes, provisional_for=settings.provisional_ttl)
        self.storing = Storing(store=store, blobs=blobs, clock=clock, ids=RandomIds(), rules=rules)
        self.run_files = RunFiles(bindings=bindings, blobs=blobs, runs=runs, clock=clock)
        self.sweep = Sweep(store=store, bindings=bindings, run_files=self.run_files, blobs=blobs, clock=clock)
        servicer = FileServicer(
            storing=self.storing,
            reading=Reading(store=store, listing=FileListing(database=database), blobs=blobs, clock=clock),
            deleting=Deleting(store=store, blobs=blobs, run_files=self.run_files, clock=clock),
            run_files=self.run_files,
        )
        tokens = FileTokens(fleet_id=settings.fleet_id, public_key_pems=settings.grant_public_keys, clock=clock)
        self.member = Member(
            name="file",
            register=lambda server: file_pb2_grpc.add_FileServiceServicer_to_server(servicer, server),
            rules=RULES,
            authenticators=(tokens,),
        )


async def _sweep(sweep: Sweep) -> None:
    while True:
        await sweep.round()
        await asyncio.sleep(INTERVAL.total_seconds())
