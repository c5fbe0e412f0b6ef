"""A file room behind a real server, with clients of several callers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from comfyfleet.file.v1 import file_pb2, file_pb2_grpc
from grpc.aio import Channel

from services.common.errors import Unauthenticated, Unavailable
from services.common.events.nats import Nats
from services.common.grant import RunGrant, encode_grant, new_key_pair
from services.common.rpc.channel import open_channel
from services.common.rpc.metadata import bearer, for_team
from services.common.rpc.principal import Principal, PrincipalKind
from services.common.rpc.server import open_server
from services.common.settings import Settings
from services.common.sql import open_database
from services.common.sql.migrate import migrate
from services.file.model.file import CHUNK_BYTES
from services.file.model.run_fate import RunFate
from services.file.room import open_room
from tests.servers.clock import MovableClock

TEAM_A, TEAM_B = "01a20000-0000-7000-8000-00000000000a", "01a20000-0000-7000-8000-00000000000b"
"""The same in every process that opens a rig."""
SERVICE = "svc-test"
FLEET = "fleet-test"
DEADLINE = 30.0

Metadata = tuple[tuple[str, str], ...]

ALICE: Metadata = bearer("sk-alice")
BOB: Metadata = bearer("sk-bob")
READER: Metadata = bearer("sk-reader")
AGENT: Metadata = bearer("ak-agent")
ROOM: Metadata = (*bearer(SERVICE), *for_team(TEAM_A))


class KnownRuns:
    """A run room of a few runs, which may be away."""

    def __init__(self) -> None:
        self.runs: dict[str, RunFate] = {}
        self.away = False
        self.asked: list[str] = []

    def goes_on(self, run_id: str) -> None:
        self.runs[run_id] = RunFate(run_id=run_id, ended=False, output_file_ids=frozenset())

    def ended(self, run_id: str, *output_ids: str) -> None:
        self.runs[run_id] = RunFate(run_id=run_id, ended=True, output_file_ids=frozenset(output_ids))

    async def fates(self, run_ids: Sequence[str]) -> Mapping[str, RunFate]:
        self.asked.extend(run_ids)
        if self.away:
            raise Unavailable("The run room is away.", reason="PEER_AWAY")
        return {run_id: self.runs[run_id] for run_id in run_ids if run_id in self.runs}


class Keys:
    """The credentials of this fleet's teams."""

    async def authenticate(self, secret: str) -> Principal | None:
        both = frozenset({"files:read", "files:write"})
        integration, agent = PrincipalKind.INTEGRATION, PrincipalKind.AGENT
        known = {
            "sk-alice": (integration, TEAM_A, both),
            "sk-bob": (integration, TEAM_B, both),
            "sk-reader": (integration, TEAM_A, frozenset({"files:read"})),
            "ak-agent": (agent, TEAM_A, frozenset({"queue:synchronize"})),
        }
        if secret not in known:
            raise Unauthenticated("No.", reason="CREDENTIAL_UNKNOWN")
        kind, team_id, scopes = known[secret]
        return Principal(kind=kind, credential_id=secret, team_id=team_id, scopes=scopes)


@dataclass(kw_only=True)
class FileRig:
    """One running file room."""

    settings: Settings
    private_key: str
    channel: Channel
    address: str
    clock: MovableClock
    runs: KnownRuns
    stub: "file_pb2_grpc.FileServiceAsyncStub" = field(init=False)

    def __post_init__(self) -> None:
        self.stub = file_pb2_grpc.FileServiceStub(self.channel)

    @property
    def blobs(self) -> Path:
        return self.settings.folder_of("file") / "blobs"

    def blob_paths(self) -> list[Path]:
        """All blobs that are in their place."""
        return [path for path in self.blobs.glob("[0-9a-f][0-9a-f]/*") if path.is_file()]

    def incoming_paths(self) -> list[Path]:
        """All temporary files."""
        return [path for path in self.blobs.glob("incoming/*/*") if path.name != ".lock"]

    def token(self, run_id: str, *, attempt: int = 1, inputs: Sequence[str] | None = (), **other: object) -> Metadata:
        """Metadata with a file token for an execution."""
        values: dict[str, object] = {
            "fleet_id": FLEET,
            "team_id": TEAM_A,
            "max_bytes": 2**30,
            "expires_at": self.clock.now() + timedelta(minutes=5),
        }
        grant = RunGrant(
            run_id=run_id,
            attempt=attempt,
            input_ids=None if inputs is None else frozenset(inputs),
            **{**values, **other},  # type: ignore[arg-type]  # its other fields
        )
        return bearer(encode_grant(grant, self.private_key))

    async def put(self, content: bytes, metadata: Metadata = ALICE, **header: object) -> file_pb2.File:
        request = file_pb2.PutFileRequest(header=file_pb2.FileHeader(**header), content=content)  # type: ignore[arg-type]
        return (await self.stub.PutFile(request, metadata=metadata, timeout=DEADLINE)).file

    async def upload(self, content: bytes, metadata: Metadata = ALICE, **header: object) -> file_pb2.File:
        requests = upload_requests(content, **header)
        return (await self.stub.UploadFile(requests, metadata=metadata, timeout=DEADLINE)).file

    async def get(self, file_id: str, metadata: Metadata = ALICE) -> file_pb2.File:
        request = file_pb2.GetFileRequest(file_id=file_id)
        return (await self.stub.GetFile(request, metadata=metadata, timeout=DEADLINE)).file

    async def delete(self, file_id: str, metadata: Metadata = ALICE) -> None:
        await self.stub.DeleteFile(file_pb2.DeleteFileRequest(file_id=file_id), metadata=metadata, timeout=DEADLINE)

    async def download(
        self, file_id: str, metadata: Metadata = ALICE, *, offset: int = 0, length: int = 0
    ) -> tuple[file_pb2.DownloadHeader, bytes]:
        request = file_pb2.DownloadFileRequest(file_id=file_id, offset=offset, length=length)
        header, content = None, bytearray()
        async for part in self.stub.DownloadFile(request, metadata=metadata, timeout=DEADLINE):
            if header is None:
                header = part.header
            else:
                assert 0 < len(part.chunk) <= CHUNK_BYTES
                content += part.chunk
        assert header is not None
        return header, bytes(content)

    async def bind(
        self, run_id: str, *file_ids: str, delete_at_end: bool = False, accept: Sequence[str] = ()
    ) -> file_pb2.BindFilesResponse:
        files = [
            file_pb2.FileBinding(file_id=each, field=f"field-{n}", accept=accept) for n, each in enumerate(file_ids)
        ]
        request = file_pb2.BindFilesRequest(run_id=run_id, files=files, delete_at_end=delete_at_end)
        return await self.stub.BindFiles(request, metadata=ROOM, timeout=DEADLINE)


async def upload_requests(content: bytes, **header: object) -> AsyncIterator[file_pb2.UploadFileRequest]:
    """The messages of an upload."""
    yield file_pb2.UploadFileRequest(header=file_pb2.FileHeader(**header))  # type: ignore[arg-type]
    for start in range(0, len(content), CHUNK_BYTES):
        yield file_pb2.UploadFileRequest(chunk=content[start : start + CHUNK_BYTES])


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that shows only from outside: files of another task or process."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 # nobody tells of it
            await asyncio.sleep(0.01)


@asynccontextmanager
async def open_file_rig(
    state: Path, *, nats: Nats | None = None, runs: KnownRuns | None = None, **settings: object
) -> AsyncIterator[FileRig]:
    """A file room over SQLite and a folder, on a free port."""
    private, public = new_key_pair()
    chosen = Settings(state_dir=state, fleet_id=FLEET, grant_public_keys=[public], **settings)  # type: ignore[arg-type]
    url = chosen.database_url_of("file")
    await migrate(url, "file")
    clock, runs = MovableClock(datetime.now(UTC)), runs or KnownRuns()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_server(address="127.0.0.1:0"))
        channel = await stack.enter_async_context(open_channel(server.address))
        database = await stack.enter_async_context(open_database(url=url, room="file"))
        members = await stack.enter_async_context(
            open_room(
                settings=chosen,
                database=database,
                nats=nats or Nats(url="nats://127.0.0.1:9", name="nobody"),
                runs=runs,
                clock=clock,
            )
        )
        await stack.enter_async_context(
            server.serving(members, authenticator=Keys(), service_credentials=[SERVICE], clock=clock)
        )
        yield FileRig(
            settings=chosen, private_key=private, channel=channel, address=server.address, clock=clock, runs=runs
        )
