"""Puts the dispatcher together.

It starts in this order: the backends are read, beside that the stream to the run room is dialled. It ends in this
order: (1) it says that it is draining and hands back what was not submitted; (2) what executes has the grace to end;
(3) what still executes then stays at its backend, for the next session to adopt; (4) stream and backends are left.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import structlog
from comfyfleet.dispatcher.v1 import dispatcher_pb2_grpc
from comfyfleet.run.v1 import run_queue_pb2_grpc
from yarl import URL

from services.common.clock import Clock, SystemClock
from services.common.ids import new_id
from services.common.rpc.authentication import FixedAuthenticator, NoAuthenticator
from services.common.rpc.channel import open_channel
from services.common.rpc.principal import Principal, PrincipalKind
from services.common.rpc.server import Member, RoomServer, open_server
from services.common.settings import Settings
from services.dispatcher.drivers.comfyui.backend import ComfyBackend
from services.dispatcher.drivers.driver import Backend, BackendAddress, BackendListener
from services.dispatcher.model.desired import Desired
from services.dispatcher.peers.files import FilePeer
from services.dispatcher.service.changes import Changes
from services.dispatcher.service.reconciler import Reconciler
from services.dispatcher.service.status import Status
from services.dispatcher.service.watching import Watchers
from services.dispatcher.servicer import RULES, DispatcherServicer, Sources
from services.dispatcher.worker.catalogues import CatalogueUploader
from services.dispatcher.worker.previews import PreviewPublisher
from services.dispatcher.worker.synchronizer import Identity, Source, Synchronizer

SOFTWARE = "comfyfleet-dispatcher/0.1.0"
DRAIN_GRACE = timedelta(seconds=8)
"""What executes may take so long to end; below the grace in which a supervisor kills."""
_CONNECTIONS = 64

log = structlog.get_logger()


@asynccontextmanager
async def open_dispatcher(
    *, settings: Settings, clock: Clock | None = None, drain_grace: timedelta = DRAIN_GRACE
) -> AsyncIterator[RoomServer]:
    """Drive `settings.comfyui_urls` for the run room at `settings.run_address` while the block lasts.

    The server is the dispatcher's own door at `settings.dispatcher_listen`, which knows only `settings.agent_secret`.
    ValueError without a secret, and for an address that is not loopback; OSError if it is taken. A task of the
    dispatcher that fails ends the block with its error, `Superseded` among them.
    """
    _check_loopback(settings.dispatcher_listen)
    if settings.agent_secret is None:
        raise ValueError("Set COMFYFLEET_AGENT_SECRET, the `ak-…` with which the dispatcher synchronizes.")
    clock = clock or SystemClock()
    dispatcher_id = settings.dispatcher_id
    if dispatcher_id is None:
        dispatcher_id = await asyncio.to_thread(_kept_id, settings.folder_of("dispatcher"))
    identity = Identity(
        dispatcher_id=dispatcher_id,
        session_id=new_id(),
        secret=settings.agent_secret,
        tags=tuple(settings.runner_tags),
        region=settings.runner_region,
        community=settings.runner_community,
    )
    status = Status(
        dispatcher_id=identity.dispatcher_id,
        session_id=identity.session_id,
        software=SOFTWARE,
        run_endpoint=settings.run_address,
    )
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(open_channel(settings.run_address))
        stub = run_queue_pb2_grpc.RunQueueServiceStub(channel)
        files = FilePeer(address=_file_address(settings), channels=stack)
        await files.use("")
        previews = PreviewPublisher(stub=stub, secret=identity.secret)
        watchers = Watchers(publish=previews.offer)
        changes = Changes()
        reconciler = Reconciler(
            addresses=tuple(_address(url) for url in dict.fromkeys(settings.comfyui_urls)),
            make_backend=_Factory(files=files, stack=stack),
            changes=changes,
            watchers=watchers,
            stopwatch=time.monotonic,
        )
        catalogues = CatalogueUploader(stub=stub, secret=identity.secret, find=reconciler.catalogue)

        async def apply(desired: Desired) -> None:
            await files.use(desired.file_endpoint)
            reconciler.apply(desired)
            catalogues.want(desired.wanted_catalogues)

        source = Source(report=reconciler.report, changes=changes, apply=apply)
        synchronizer = Synchronizer(identity=identity, stub=stub, source=source, status=status, clock=clock)
        sources = Sources(reconciler=reconciler, watchers=watchers, status=status, clock=clock)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(reconciler.run(), name="dispatcher-backends"),
                group.create_task(synchronizer.run(), name="dispatcher-synchronizer"),
                group.create_task(previews.run(), name="dispatcher-previews"),
                group.create_task(catalogues.run(), name="dispatcher-catalogues"),
            ]
            try:
                async with (
                    open_server(address=settings.dispatcher_listen) as server,
                    server.serving(
                        [_member(sources, identity)],
                        authenticator=NoAuthenticator(),
                        with_reflection=settings.reflection,
                    ),
                ):
                    log.info("dispatcher_listens", address=server.address)
                    yield server
            finally:
                if not any(task.done() for task in tasks):
                    await asyncio.shield(_drain(reconciler, drain_grace))
                for task in tasks:
                    task.cancel()


async def _drain(reconciler: Reconciler, grace: timedelta) -> None:
    reconciler.drain()
    try:
        async with asyncio.timeout(grace.total_seconds()):
            await reconciler.drained()
    except TimeoutError:
        pass


def _check_loopback(listen: str) -> None:
    host = listen.rpartition(":")[0].strip("[]")
    try:
        is_loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ValueError("COMFYFLEET_DISPATCHER_LISTEN takes a loopback address only, such as 127.0.0.1:0.")


def _member(sources: Sources, identity: Identity) -> Member:
    servicer = DispatcherServicer(sources=sources)
    principal = Principal(kind=PrincipalKind.AGENT, credential_id="dispatcher", scopes=frozenset({"queue:synchronize"}))
    return Member(
        name="dispatcher",
        register=lambda server: dispatcher_pb2_grpc.add_DispatcherServiceServicer_to_server(servicer, server),
        rules=RULES,
        authenticators=(FixedAuthenticator(secret=identity.secret, principal=principal),),
    )


class _Factory:
    """Makes backends, each with an HTTP session of its own that ends with the dispatcher."""

    def __init__(self, *, files: FilePeer, stack: AsyncExitStack) -> None:
        self._files = files
        self._stack = stack

    def __call__(self, address: BackendAddress, listener: BackendListener) -> Backend:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            # Compressed answers would make their size unknown before they are read; cookies are nobody's business.
            headers={**address.headers, "Accept-Encoding": "identity"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._stack.push_async_callback(session.close)
        return ComfyBackend(
            address=address, session=session, files=self._files, listener=listener, stopwatch=time.monotonic
        )


def _address(url: str) -> BackendAddress:
    """A configured backend; its name leaves out what is secret in the URL."""
    return BackendAddress(local_key=str(URL(url).with_user(None)).rstrip("/")[:200], url=url)


def _file_address(settings: Settings) -> str:
    """Where files are while the run room names no place: as configured, else the address of the stream."""
    return settings.file_address if "file_address" in settings.model_fields_set else settings.run_address


def _kept_id(folder: Path) -> str:
    """The dispatcher's id, made at the first start and kept."""
    path = folder / "dispatcher_id"
    if path.is_file() and (kept := path.read_text().strip()):
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    made = new_id()
    draft = folder / f".dispatcher_id.{os.getpid()}"
    draft.write_text(made)
    draft.replace(path)
    return made
