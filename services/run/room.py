"""The run room, wired."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from comfyfleet.run.v1 import run_service_pb2_grpc

from services.common.background import background
from services.common.clock import Clock, SystemClock
from services.common.events.hints import Hints
from services.common.events.nats import Nats
from services.common.events.outbox import Relay
from services.common.rpc.server import Member
from services.common.settings import Settings
from services.common.sql import Database
from services.run.consumer import hear_registry
from services.run.feed import RunFeed
from services.run.peers.facts import RunOutbox
from services.run.peers.files import RoomFiles
from services.run.peers.workflows import RegistryWorkflows
from services.run.queue import Queue, QueueSettings, open_queue
from services.run.run_side import RunSide
from services.run.service.workflow_cache import CachedWorkflows
from services.run.servicer.run_servicer import RULES, RunServicer


@asynccontextmanager
async def open_room(
    *,
    settings: Settings,
    database: Database,
    nats: Nats | None,
    hints: Hints,
    registry_channel: grpc.aio.Channel,
    file_channel: grpc.aio.Channel,
    clock: Clock | None = None,
) -> AsyncIterator[list[Member]]:
    """The run room over its migrated `database`, with its loops running.

    1. The feed listens. 2. The queue opens: matcher, sweeps, sessions. 3. The loops of runs start. 4. The member may
    be served. The channels carry the service credential. Without `nats` facts wait in the event log.
    """
    clock = clock or SystemClock()
    if database.dialect == "sqlite":
        hints = Hints(nats=None)  # the folder is locked: no other replica would hear them
    relay = None if nats is None else Relay(outbox=RunOutbox(database=database, clock=clock), nats=nats)
    feed = RunFeed(hints=hints, announced=None if relay is None else relay.wake)
    workflows = CachedWorkflows(workflows=RegistryWorkflows(channel=registry_channel), clock=clock)
    queue_settings = QueueSettings.from_settings(settings)
    with feed.listening():
        async with open_queue(database=database, feed=feed, hints=hints, settings=queue_settings, clock=clock) as queue:
            side = RunSide(database=database, feed=feed, placer=queue.placer, wakes=queue.wakes, clock=clock)
            servicer = side.servicer(settings=settings, workflows=workflows, files=RoomFiles(channel=file_channel))
            loops = side.loops()
            if nats is not None and relay is not None:
                loops["run_relay"] = relay.run()
                loops["run_consumer"] = hear_registry(nats=nats, workflows=workflows)
            async with background(**loops):
                yield [_member(servicer, queue)]


def _member(servicer: RunServicer, queue: Queue) -> Member:
    def register(server: grpc.aio.Server) -> None:
        run_service_pb2_grpc.add_RunServiceServicer_to_server(servicer, server)
        queue.register(server)

    return Member(name="run", register=register, rules={**RULES, **queue.rules})
