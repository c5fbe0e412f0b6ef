"""The wiring of the access room."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog
from comfyfleet.access.v1 import access_pb2_grpc

from services.access.authenticator import LocalAuthenticator
from services.access.peers import EventFacts
from services.access.service.credentials import Credentials
from services.access.service.ports import Wake
from services.access.service.teams import Teams
from services.access.servicer import RULES, AccessServicer
from services.access.store.credentials import CredentialStore
from services.access.store.replays import forget_before
from services.access.store.tables import OUTBOX
from services.access.store.teams import TeamStore
from services.common.background import background
from services.common.clock import Clock, SystemClock
from services.common.errors import Unavailable
from services.common.events.nats import Nats
from services.common.events.outbox import Relay
from services.common.ids import RandomIds
from services.common.rpc.server import Member
from services.common.sql import Database
from services.common.sql.outbox import SqlOutbox

SWEEP_FAILED = "access_sweep_failed"
SWEEP_EVERY = timedelta(hours=1)
KEEP_REQUESTS = timedelta(days=2)
"""How long a replay of a create is recognised."""
KEEP_PUBLISHED = timedelta(days=1)

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class UseCases:
    """What the access room can do."""

    teams: Teams
    credentials: Credentials


@dataclass(frozen=True, kw_only=True)
class AccessRoom:
    """The open room."""

    members: list[Member]
    authenticator: LocalAuthenticator
    """For the server of this process."""


def use_cases(*, database: Database, wake: Wake = lambda: None, clock: Clock | None = None) -> UseCases:
    """The use cases over `database`, without any loop: all that bootstrap needs."""
    clock, ids = clock or SystemClock(), RandomIds()
    teams = Teams(store=TeamStore(database=database), clock=clock, ids=ids)
    outbox = SqlOutbox(database=database, table=OUTBOX)
    credentials = Credentials(
        store=CredentialStore(database=database, outbox=outbox),
        teams=teams,
        facts=EventFacts(clock=clock, ids=ids),
        wake=wake,
        clock=clock,
    )
    return UseCases(teams=teams, credentials=credentials)


@asynccontextmanager
async def open_room(*, database: Database, nats: Nats, clock: Clock | None = None) -> AsyncIterator[AccessRoom]:
    """The access room over its migrated `database`; its facts go out by `nats`."""
    clock = clock or SystemClock()
    outbox = SqlOutbox(database=database, table=OUTBOX)
    relay = Relay(outbox=outbox, nats=nats, gather=timedelta())  # revocations are rare, and in a hurry
    cases = use_cases(database=database, wake=relay.wake, clock=clock)
    servicer = AccessServicer(teams=cases.teams, credentials=cases.credentials)
    member = Member(
        name="access",
        register=lambda server: access_pb2_grpc.add_AccessServiceServicer_to_server(servicer, server),
        rules=RULES,
    )
    async with background(access_relay=relay.run(), access_sweep=_sweep(database, outbox, clock)):
        yield AccessRoom(members=[member], authenticator=LocalAuthenticator(credentials=cases.credentials))


async def _sweep(database: Database, outbox: SqlOutbox, clock: Clock) -> None:
    while True:
        try:
            await forget_before(database, clock.now() - KEEP_REQUESTS)
            await outbox.sweep(clock.now() - KEEP_PUBLISHED)
        except Unavailable:
            _log.warning(SWEEP_FAILED)
        await asyncio.sleep(SWEEP_EVERY.total_seconds())
