"""The queue side of the run room, wired: dispatchers' streams, the matcher, and the sweep of leases."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import grpc
from comfyfleet.run.v1 import run_queue_pb2_grpc, runner_pb2_grpc

from services.common.background import background
from services.common.clock import Clock
from services.common.rpc.options import MAX_MESSAGE_BYTES
from services.common.rpc.rule import Rule
from services.common.settings import Settings
from services.common.sql import Database
from services.run.feed import RunFeed
from services.run.grants import GrantSigner
from services.run.service.catalogues import Catalogues
from services.run.service.dispatchers import Dispatchers
from services.run.service.fleet import Fleet
from services.run.service.matcher import Matcher
from services.run.service.runners import Runners
from services.run.service.session import SEND_EVERY, Room
from services.run.service.sessions import Hints, Sessions
from services.run.service.sweeper import Sweeper
from services.run.service.wakes import Wakes
from services.run.servicer.desire_converters import Terms
from services.run.servicer.queue_servicer import QUEUE_RULES, QueueServicer
from services.run.servicer.runner_servicer import RUNNER_RULES, RunnerServicer
from services.run.store.creation import Placer


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """What the queue side needs to be told."""

    fleet_id: str
    grant_private_key: str
    """PEM of the Ed25519 key that signs file tokens."""
    lease: timedelta = timedelta(seconds=30)
    max_output_bytes: int = 6 * 1024**3
    """Most bytes of outputs of one attempt."""

    @classmethod
    def from_settings(cls, settings: Settings) -> "QueueSettings":
        """Those of the process; ValueError where there is no key to sign file tokens with."""
        if settings.grant_private_key is None:
            raise ValueError("Set COMFYFLEET_GRANT_PRIVATE_KEY: the run room signs file tokens with it.")
        return cls(
            fleet_id=settings.fleet_id,
            grant_private_key=settings.grant_private_key,
            lease=settings.lease,
            max_output_bytes=settings.max_file_bytes,
        )


class Queue:
    """What the rest of the room needs of it."""

    def __init__(
        self, *, placer: Placer, wakes: Wakes, queue_servicer: QueueServicer, runner_servicer: RunnerServicer
    ) -> None:
        self.placer = placer
        self.wakes = wakes
        self.rules: Mapping[str, Rule] = {**QUEUE_RULES, **RUNNER_RULES}
        self._queue_servicer = queue_servicer
        self._runner_servicer = runner_servicer

    def register(self, server: grpc.aio.Server) -> None:
        """Add RunQueueService and RunnerService."""
        run_queue_pb2_grpc.add_RunQueueServiceServicer_to_server(self._queue_servicer, server)
        runner_pb2_grpc.add_RunnerServiceServicer_to_server(self._runner_servicer, server)


@asynccontextmanager
async def open_queue(
    *, database: Database, feed: RunFeed, hints: Hints, settings: QueueSettings, clock: Clock
) -> AsyncIterator[Queue]:
    """The queue over the room's migrated database, with its loops running: matcher, knowledge of runners, sweep."""
    fleet, sessions = Fleet(), Sessions(hints=hints)
    matcher = Matcher(database=database, fleet=fleet, feed=feed, wakes=sessions, clock=clock)
    sweeper = Sweeper(database=database, feed=feed, wakes=sessions, lease=settings.lease, clock=clock)
    sessions.serve_matcher(matcher.wake)
    feed.when_preview_wanted(sessions.preview_wanted)
    grants = GrantSigner(
        private_key=settings.grant_private_key,
        fleet_id=settings.fleet_id,
        max_output_bytes=settings.max_output_bytes,
        clock=clock,
    )
    room = Room(database=database, fleet=fleet, feed=feed, wakes=sessions, clock=clock, lease=settings.lease)
    dispatchers = Dispatchers(room=room, sessions=sessions, grants=grants, max_output_bytes=settings.max_output_bytes)
    catalogues = Catalogues(database=database, fleet=fleet, came=sessions.catalogue_came, clock=clock)
    terms = Terms(
        lease=settings.lease,
        heartbeat=SEND_EVERY,
        fleet_id=settings.fleet_id,
        file_endpoint="",
        max_message_bytes=MAX_MESSAGE_BYTES,
    )
    await fleet.refresh(database)
    with sessions.listening():
        async with background(
            run_matcher=matcher.run(), run_knowledge=matcher.keep_informed(), run_leases=sweeper.run()
        ):
            yield Queue(
                placer=fleet,
                wakes=sessions,
                queue_servicer=QueueServicer(dispatchers=dispatchers, catalogues=catalogues, terms=terms),
                runner_servicer=RunnerServicer(runners=Runners(database=database), catalogues=catalogues),
            )
