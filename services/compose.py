"""Introduces the rooms to one another: the only file that knows two of them.

A process serves any of `MEMBERS`. Its rooms share one gRPC server; whom a room calls, next door too, it calls through
a channel that is opened here, so that one code path serves one machine and a cluster. Next door the channel leads
past the socket, straight to the server's handlers.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import grpc

from gateway.porch import open_gateway
from gateway.rooms import open_rooms
from services.access.bootstrap import FirstKeys, bootstrap
from services.access.room import open_room as open_access
from services.access.room import use_cases
from services.common.background import background
from services.common.events.hints import Hints, open_hints
from services.common.events.nats import Nats, open_nats
from services.common.events.revocations import follow_revocations
from services.common.rpc.authentication import Authenticator
from services.common.rpc.channel import open_channel
from services.common.rpc.local_channel import LocalMethods
from services.common.rpc.remote_authenticator import RemoteAuthenticator
from services.common.rpc.server import Member, open_server
from services.common.settings import Settings
from services.common.sql import Database, open_database
from services.common.sql.migrate import migrate
from services.dispatcher.room import open_dispatcher
from services.file.peers.runs import METHODS as RUNS_READ_BY_FILE
from services.file.peers.runs import RemoteRuns
from services.file.room import open_room as open_file
from services.registry.room import open_room as open_registry
from services.run.room import open_room as open_run
from services.standin.server import open_standin

ROOMS = ("access", "registry", "run", "file")
"""The members that have tables."""
MEMBERS = ("gateway", *ROOMS, "dispatcher", "standin")
"""What a process can serve."""

_LOCK_WAIT = timedelta(seconds=10)
"""A process that is dying may hold a folder for a moment longer."""


@asynccontextmanager
async def open_members(names: Sequence[str], settings: Settings) -> AsyncIterator[None]:
    """Serves members while the block runs, opened in this order and closed in the reverse.

    1. The stand-in, which needs nobody. 2. The rooms with tables, on one gRPC server. 3. The dispatcher, which dials
    the run room. 4. The gateway last: whoever reaches it finds the rest.
    """
    async with AsyncExitStack() as stack:
        if "standin" in names:
            host, _, port = settings.standin_listen.rpartition(":")
            folder = settings.folder_of("standin")
            await stack.enter_async_context(open_standin(folder=folder, host=host, port=int(port)))
        rooms = [name for name in names if name in ROOMS]
        here = await stack.enter_async_context(_serve_rooms(rooms, settings)) if rooms else None
        if "dispatcher" in names:
            await stack.enter_async_context(open_dispatcher(settings=settings))
        if "gateway" in names:
            behind = await stack.enter_async_context(open_rooms(settings, here=here))
            await stack.enter_async_context(open_gateway(settings=settings, rooms=behind))
        yield


async def migrate_rooms(settings: Settings, rooms: Sequence[str] = ROOMS) -> None:
    """Brings the tables of rooms to this version of the code; does nothing where they are.

    Raises:
        FailedPrecondition: On SQLite, a member serves the room (FOLDER_LOCKED).
    """
    for room in rooms:
        await migrate(settings.database_url_of(room), room, lock_wait=_LOCK_WAIT)


async def bootstrap_installation(settings: Settings) -> FirstKeys:
    """Makes the first team and the first keys where they are missing. May be repeated.

    Raises:
        FailedPrecondition: On SQLite, a member serves the access room (FOLDER_LOCKED).
    """
    url = settings.database_url_of("access")
    async with open_database(url=url, room="access", lock_wait=_LOCK_WAIT) as database:
        cases = use_cases(database=database)
        return await bootstrap(teams=cases.teams, credentials=cases.credentials, state_dir=settings.state_dir)


@dataclass(frozen=True, kw_only=True)
class _Surroundings:
    """What a process has for all of its rooms."""

    settings: Settings
    nats: Nats
    hints: Hints
    here: LocalMethods
    stack: AsyncExitStack

    async def database(self, room: str) -> Database:
        """The room's database, open until the process ends."""
        url = self.settings.database_url_of(room)
        return await self.stack.enter_async_context(open_database(url=url, room=room, lock_wait=_LOCK_WAIT))

    async def channel(self, address: str, *idempotent: str) -> grpc.aio.Channel:
        """A channel to another room, with the service credential, open until the process ends."""
        secret = self.settings.service_secret
        return await self.stack.enter_async_context(
            open_channel(address, service_credential=secret, idempotent=idempotent, here=self.here)
        )


@asynccontextmanager
async def _serve_rooms(names: Sequence[str], settings: Settings) -> AsyncIterator[LocalMethods]:
    async with open_server(address=settings.listen) as server, AsyncExitStack() as stack:
        nats = await stack.enter_async_context(open_nats(url=settings.nats_server, name="+".join(names)))
        hints = await stack.enter_async_context(open_hints(nats=nats))
        around = _Surroundings(settings=settings, nats=nats, hints=hints, here=server.methods, stack=stack)
        members: list[Member] = []
        authenticator: Authenticator | None = None
        if "access" in names:
            access = await stack.enter_async_context(open_access(database=await around.database("access"), nats=nats))
            members += access.members
            authenticator = access.authenticator
        else:
            channel = await around.channel(settings.access_address, "comfyfleet.access.v1.AccessService/Authenticate")
            authenticator = RemoteAuthenticator(channel)
        for name in names:
            if name in _OPENERS:
                members += await _OPENERS[name](around)
        await stack.enter_async_context(background(revocations=follow_revocations(nats=nats, forget=server.forget)))
        async with server.serving(
            members,
            authenticator=authenticator,
            service_credentials=settings.service_secrets,
            with_reflection=settings.reflection,
        ):
            yield server.methods


async def _open_registry(around: _Surroundings) -> list[Member]:
    run = await around.channel(around.settings.run_address, "comfyfleet.run.v1.RunnerService")
    room = open_registry(database=await around.database("registry"), nats=around.nats, run_channel=run)
    return await around.stack.enter_async_context(room)


async def _open_file(around: _Surroundings) -> list[Member]:
    run = await around.channel(around.settings.run_address, *RUNS_READ_BY_FILE)
    room = open_file(
        settings=around.settings, database=await around.database("file"), nats=around.nats, runs=RemoteRuns(run)
    )
    return await around.stack.enter_async_context(room)


async def _open_run(around: _Surroundings) -> list[Member]:
    settings = around.settings
    registry = await around.channel(
        settings.registry_address,
        "comfyfleet.registry.v1.RegistryService/GetWorkflow",
        "comfyfleet.registry.v1.RegistryService/DiscoverParameters",
    )
    file = await around.channel(settings.file_address, "comfyfleet.file.v1.FileService/BindFiles")
    room = open_run(
        settings=settings,
        database=await around.database("run"),
        nats=around.nats,
        hints=around.hints,
        registry_channel=registry,
        file_channel=file,
    )
    return await around.stack.enter_async_context(room)


_OPENERS: dict[str, Callable[[_Surroundings], Awaitable[list[Member]]]] = {
    "registry": _open_registry,
    "run": _open_run,
    "file": _open_file,
}
