"""The run room's own door behind a real server, beside small rooms that it calls, and a hand that plays the fleet."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import grpc
from comfyfleet.file.v1 import file_pb2, file_pb2_grpc
from comfyfleet.registry.v1 import registry_pb2, registry_pb2_grpc, workflow_pb2
from comfyfleet.run.v1 import run_event_pb2, run_service_pb2, run_service_pb2_grpc
from sqlmodel import Session

from services.common.background import background
from services.common.clock import SystemClock
from services.common.errors import InvalidArgument, NotFound, Unauthenticated, Violation
from services.common.events.hints import Hints
from services.common.ids import new_id
from services.common.rpc.authentication import NoAuthenticator
from services.common.rpc.channel import open_channel
from services.common.rpc.metadata import bearer
from services.common.rpc.principal import Principal, PrincipalKind, current_principal
from services.common.rpc.rule import service_only, service_rules
from services.common.rpc.server import Member, open_server
from services.common.settings import Settings
from services.common.sql import Database
from services.run.feed import RunFeed
from services.run.model.assignment import Assignment
from services.run.model.event import LoggedEvent, NewEvent, attempt_started, output_added, state_changed
from services.run.model.requirements import Requirements
from services.run.model.run import Run
from services.run.model.state import RunState
from services.run.peers.files import RoomFiles
from services.run.peers.workflows import RegistryWorkflows
from services.run.run_side import RunSide
from services.run.service.workflow_cache import CachedWorkflows
from services.run.servicer.run_servicer import RULES
from services.run.store.events import append_events
from services.run.store.runs import run_by_id
from services.run.store.tables import RUN_OUTPUT
from services.run.store.transition import transition
from tests.contract.run_samples import output as output_of

TEAM_A, TEAM_B = new_id(), new_id()
SERVICE = "svc-test"
DEADLINE = 30.0

Metadata = tuple[tuple[str, str], ...]

ALICE: Metadata = bearer("sk-alice")
BOB: Metadata = bearer("sk-bob")
READER: Metadata = bearer("sk-reader")
ROOM: Metadata = bearer(SERVICE)


class Keys:
    """The credentials of two teams."""

    async def authenticate(self, secret: str) -> Principal | None:
        both = frozenset({"runs:read", "runs:write"})
        known = {"sk-alice": (TEAM_A, both), "sk-bob": (TEAM_B, both), "sk-reader": (TEAM_A, frozenset({"runs:read"}))}
        if secret not in known:
            raise Unauthenticated("No.", reason="CREDENTIAL_UNKNOWN")
        team_id, scopes = known[secret]
        return Principal(kind=PrincipalKind.INTEGRATION, credential_id=secret, team_id=team_id, scopes=scopes)


class SmallRegistry(registry_pb2_grpc.RegistryServiceServicer):
    """A few workflows of team A, and one answer to what a graph's parameters are."""

    def __init__(self) -> None:
        self.workflows: dict[str, workflow_pb2.Workflow] = {}
        self.discovered: list[workflow_pb2.Parameter] = []
        self.reads = 0
        self.discoveries = 0

    def add(self, slug: str, graph_json: bytes, *parameters: workflow_pb2.Parameter) -> workflow_pb2.Workflow:
        """One more workflow, or version of it."""
        known = self.workflows.get(slug)
        workflow = workflow_pb2.Workflow(
            id=known.id if known else new_id(), slug=slug, team_id=TEAM_A, display_name=slug.title()
        )
        workflow.version.number = known.version.number + 1 if known else 1
        workflow.version.graph_json = graph_json
        workflow.version.content_hash = sha256(graph_json).hexdigest()
        workflow.version.parameters.extend(parameters)
        workflow.version.node_classes.append("Any")
        self.workflows[slug] = workflow
        return workflow

    async def GetWorkflow(
        self, request: registry_pb2.GetWorkflowRequest, _context: Any
    ) -> registry_pb2.GetWorkflowResponse:
        self.reads += 1
        workflow = self.workflows.get(request.workflow)
        if workflow is None or current_principal().team() != TEAM_A:
            raise NotFound("There is no such workflow.", reason="WORKFLOW_NOT_FOUND")
        return registry_pb2.GetWorkflowResponse(workflow=workflow)

    async def DiscoverParameters(
        self, _request: registry_pb2.DiscoverParametersRequest, _context: Any
    ) -> registry_pb2.DiscoverParametersResponse:
        self.discoveries += 1
        return registry_pb2.DiscoverParametersResponse(parameters=self.discovered)


class SmallFiles(file_pb2_grpc.FileServiceServicer):
    """The files of team A."""

    def __init__(self) -> None:
        self.files: dict[str, file_pb2.File] = {}
        self.imports: dict[str, str] = {}
        self.bound: list[file_pb2.BindFilesRequest] = []

    def add(self, name: str) -> file_pb2.File:
        """One more file."""
        file = file_pb2.File(id=new_id(), file_name=name, sha256=sha256(name.encode()).hexdigest(), size_bytes=3)
        self.files[file.id] = file
        return file

    async def ImportFile(self, request: file_pb2.ImportFileRequest, _context: Any) -> file_pb2.ImportFileResponse:
        assert request.header.provisional
        if "broken" in request.uri:
            raise InvalidArgument(violations=[Violation("uri", "BAD_DATA_URI", "Give base64.")])
        file_id = self.imports.get(request.header.request_id) or self.add("imported").id
        self.imports[request.header.request_id] = file_id
        return file_pb2.ImportFileResponse(file=self.files[file_id])

    async def BindFiles(self, request: file_pb2.BindFilesRequest, _context: Any) -> file_pb2.BindFilesResponse:
        self.bound.append(request)
        missing = [
            file_pb2.FileViolation(field=each.field, reason="FILE_NOT_FOUND", message="Give a file of the team.")
            for each in request.files
            if each.file_id not in self.files
        ]
        found = [] if missing else [self.files[each.file_id] for each in request.files]
        return file_pb2.BindFilesResponse(files=found, violations=missing)


class Fleet:
    """Plays matcher and dispatcher: does to runs, in the stores and the feed, what those do."""

    def __init__(self, *, database: Database, feed: RunFeed) -> None:
        self._database = database
        self._feed = feed
        self.dispatcher_id: str | None = None
        """Gives each new run to this dispatcher in its creating transaction; None: runs wait."""
        self.has_runners = True
        self.woken: list[str] = []

    def assign_new_run(self, session: Session, run: Run, *, now: datetime) -> Assignment | None:
        if self.dispatcher_id is None:
            return None
        dispatched, events = _dispatch(session, run.id, now)
        return Assignment(run=dispatched, events=events, dispatcher_id=self.dispatcher_id)

    def any_runner_could_serve(self, requirements: Requirements, *, team_id: str) -> bool:
        return self.has_runners

    def assigned(self, dispatcher_id: str) -> None:
        self.woken.append(f"assigned {dispatcher_id}")

    def queued(self) -> None:
        self.woken.append("queued")

    def cancel_requested(self, dispatcher_id: str) -> None:
        self.woken.append(f"cancel_requested {dispatcher_id}")

    async def dispatch(self, run_id: str, *, silently: bool = False) -> None:
        """The run is given to a runner."""
        await self._do(run_id, lambda session: _dispatch(session, run_id, _now())[1], silently=silently)

    async def start(self, run_id: str, *, silently: bool = False) -> None:
        """A backend begins the run."""
        await self._do(
            run_id,
            lambda session: _move(session, run_id, RunState.DISPATCHED, RunState.RUNNING),
            silently=silently,
        )

    async def add_output(self, run_id: str, ordinal: int, *, silently: bool = False) -> None:
        """An output was stored."""

        def unit(session: Session) -> Sequence[LoggedEvent]:
            made = output_of(ordinal)
            session.connection().execute(RUN_OUTPUT.insert(), {**made.to_json(), "run_id": run_id})
            return append_events(session, run_id, [output_added(made)], now=_now())

        await self._do(run_id, unit, silently=silently)

    async def end(self, run_id: str, state: RunState = RunState.SUCCEEDED, *, silently: bool = False) -> None:
        """The run ends."""
        await self._do(run_id, lambda session: _move(session, run_id, RunState.RUNNING, state), silently=silently)

    async def complete(self, run_id: str) -> None:
        """The whole life after QUEUED, with two outputs: six events."""
        await self.dispatch(run_id)
        await self.start(run_id)
        await self.add_output(run_id, 0)
        await self.add_output(run_id, 1)
        await self.end(run_id)

    async def _do(self, run_id: str, unit: Callable[[Session], Sequence[LoggedEvent]], *, silently: bool) -> None:
        events = await self._database.write(unit)
        if not silently:
            self._feed.announce(run_id, events)


@dataclass(kw_only=True)
class RunRig:
    """One running door of the run room."""

    channel: grpc.aio.Channel
    database: Database
    registry: SmallRegistry
    files: SmallFiles
    feed: RunFeed
    fleet: Fleet
    workflows: CachedWorkflows
    stub: "run_service_pb2_grpc.RunServiceAsyncStub" = field(init=False)

    def __post_init__(self) -> None:
        self.stub = run_service_pb2_grpc.RunServiceStub(self.channel)

    async def create(self, metadata: Metadata = ALICE, **request: Any) -> run_service_pb2.CreateRunResponse:
        """CreateRun."""
        message = run_service_pb2.CreateRunRequest(**request)
        return await self.stub.CreateRun(message, metadata=metadata, timeout=DEADLINE)

    def watch(self, run_id: str, metadata: Metadata = ALICE, **request: Any) -> "Watch":
        """WatchRun."""
        message = run_service_pb2.WatchRunRequest(run_id=run_id, **request)
        return Watch(self.stub.WatchRun(message, metadata=metadata, timeout=DEADLINE))

    async def stored(self, run_id: str) -> Run:
        """The run's row."""
        run = await self.database.read(lambda session: run_by_id(session, run_id))
        assert run is not None
        return run


class Watch:
    """A stream of events being read."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._messages: AsyncIterator[run_event_pb2.RunEvent] = aiter(call)

    async def next(self) -> run_event_pb2.RunEvent:
        """The next message."""
        return await anext(self._messages)

    async def some(self, count: int) -> list[run_event_pb2.RunEvent]:
        """The next messages."""
        return [await self.next() for _ in range(count)]

    async def rest(self) -> list[run_event_pb2.RunEvent]:
        """All messages to the end."""
        return [event async for event in self._messages]

    def drop(self) -> None:
        """Go away."""
        self._call.cancel()


@asynccontextmanager
async def open_run_rig(database: Database, *, hints: Hints | None = None) -> AsyncIterator[RunRig]:
    """The door over `database`, on a free port, with its loops running; `hints`: those that replicas share."""
    registry, files = SmallRegistry(), SmallFiles()  # type: ignore[abstract]  # what is asked for here
    async with AsyncExitStack() as stack:
        peers = await stack.enter_async_context(open_server(address="127.0.0.1:0"))
        await stack.enter_async_context(
            peers.serving(peer_members(registry, files), authenticator=NoAuthenticator(), service_credentials=[SERVICE])
        )
        to_peers = await stack.enter_async_context(open_channel(peers.address, service_credential=SERVICE))
        feed = RunFeed(hints=hints or Hints(nats=None))
        stack.enter_context(feed.listening())
        fleet = Fleet(database=database, feed=feed)
        side = RunSide(database=database, feed=feed, placer=fleet, wakes=fleet, clock=SystemClock())
        workflows = CachedWorkflows(workflows=RegistryWorkflows(channel=to_peers), clock=SystemClock())
        servicer = side.servicer(settings=Settings(), workflows=workflows, files=RoomFiles(channel=to_peers))
        await stack.enter_async_context(background(**side.loops()))
        server = await stack.enter_async_context(open_server(address="127.0.0.1:0"))
        channel = await stack.enter_async_context(open_channel(server.address))
        member = Member(
            name="run",
            register=lambda server: run_service_pb2_grpc.add_RunServiceServicer_to_server(servicer, server),
            rules=RULES,
        )
        await stack.enter_async_context(server.serving([member], authenticator=Keys(), service_credentials=[SERVICE]))
        yield RunRig(
            channel=channel,
            database=database,
            registry=registry,
            files=files,
            feed=feed,
            fleet=fleet,
            workflows=workflows,
        )


def peer_members(registry: SmallRegistry, files: SmallFiles) -> list[Member]:
    """The rooms that the run room calls, as members of one server."""
    return [
        Member(
            name="registry",
            register=lambda server: registry_pb2_grpc.add_RegistryServiceServicer_to_server(registry, server),
            rules=service_rules(
                "comfyfleet.registry.v1.RegistryService",
                {"GetWorkflow": service_only(), "DiscoverParameters": service_only()},
            ),
        ),
        Member(
            name="file",
            register=lambda server: file_pb2_grpc.add_FileServiceServicer_to_server(files, server),
            rules=service_rules(
                "comfyfleet.file.v1.FileService", {"ImportFile": service_only(), "BindFiles": service_only()}
            ),
        ),
    ]


def _dispatch(session: Session, run_id: str, now: datetime) -> tuple[Run, list[LoggedEvent]]:
    values = {"attempt": 1, "runner_id": "runner-1", "dispatched_at": now}
    run = transition(
        session, run_id, from_states=[RunState.QUEUED], to=RunState.DISPATCHED, now=now, values=values, events=2
    )
    assert run is not None
    news = [
        attempt_started(1, runner_id="runner-1"),
        state_changed(RunState.DISPATCHED, previous=RunState.QUEUED, attempt=1),
    ]
    return run, append_events(session, run_id, news, now=now, run=run)


def _move(session: Session, run_id: str, was: RunState, to: RunState) -> list[LoggedEvent]:
    now = _now()
    run = transition(session, run_id, from_states=[was], to=to, now=now, attempt=1, events=1)
    assert run is not None
    news: list[NewEvent] = [state_changed(to, previous=was, attempt=1)]
    return append_events(session, run_id, news, now=now, run=run)


def _now() -> datetime:
    return datetime.now(UTC)
