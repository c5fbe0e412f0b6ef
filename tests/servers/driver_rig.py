"""A backend driver with small real surroundings: files in memory, and an observer that remembers."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from services.common.errors import NotFound, Unavailable
from services.common.ids import new_id
from services.dispatcher.drivers.comfyui.backend import ComfyBackend
from services.dispatcher.drivers.driver import Assignment, BackendAddress, Execution, ExecutionEnded
from services.dispatcher.model.desired import ExecutionInput, ExecutionKey, ExecutionSpec
from services.dispatcher.model.ending import Ending
from services.dispatcher.model.output import Output, OutputHeader, StoredFile
from services.dispatcher.model.progress import Progress

FLEET = "fleet-of-tests"
_PIECE = 64 * 1024


class MemoryFiles:
    """A file room in memory; can be away for some calls."""

    def __init__(self) -> None:
        self.inputs: dict[str, bytes] = {}
        self.outputs: dict[str, bytes] = {}
        self.downloads = 0
        self.streamed = 0
        self.away = 0

    def add(self, content: bytes, *, node_id: str, path: str, file_name: str, mask: bool = False) -> ExecutionInput:
        """Keep an input file."""
        file_id = new_id()
        self.inputs[file_id] = content
        return ExecutionInput(
            node_id=node_id,
            path=path,
            file_id=file_id,
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            file_name=file_name,
            mask=mask,
        )

    async def download(self, file_id: str, *, token: str) -> AsyncIterator[bytes]:
        self._admit(token)
        content = self.inputs.get(file_id)
        if content is None:
            raise NotFound("No such file.", reason="FILE_NOT_FOUND")
        self.downloads += 1
        for start in range(0, len(content), _PIECE):
            yield content[start : start + _PIECE]

    async def put(self, header: OutputHeader, content: bytes, *, token: str) -> StoredFile:
        self._admit(token)
        return self._store(header, content)

    async def upload(self, header: OutputHeader, content: AsyncIterator[bytes], *, token: str) -> StoredFile:
        self._admit(token)
        self.streamed += 1
        return self._store(header, b"".join([piece async for piece in content]))

    def _admit(self, token: str) -> None:
        assert token == "token"
        if self.away > 0:
            self.away -= 1
            raise Unavailable("The file room is away.", reason="AWAY")

    def _store(self, header: OutputHeader, content: bytes) -> StoredFile:
        place = header.place
        file_id = f"{header.run_id}/{header.attempt}/{place.node_id}/{place.key}/{place.position}"
        content = self.outputs.setdefault(file_id, content)
        digest = hashlib.sha256(content).hexdigest()
        return StoredFile(file_id=file_id, sha256=digest, size_bytes=len(content), media_type=header.media_type)


class RecordingObserver:
    """Remembers everything that it is told."""

    def __init__(self) -> None:
        self.outputs: tuple[Output, ...] = ()
        self.progress: list[Progress] = []
        self.previews: list[tuple[str, str, bytes]] = []
        self.messages: list[dict[str, Any]] = []
        self.staged_bytes: list[int] = []
        self.wants_previews = False
        self.began = asyncio.Event()
        self.has_left = asyncio.Event()
        self.has_output = asyncio.Event()

    def confirmed(self) -> None:
        pass

    def staged(self, done_bytes: int, total_bytes: int) -> None:
        self.staged_bytes.append(done_bytes)

    def started(self, *, said_so: bool) -> None:
        self.began.set()

    def progressed(self, progress: Progress) -> None:
        self.progress.append(progress)

    def preview_wanted(self) -> bool:
        return self.wants_previews

    def previewed(self, node_id: str, media_type: str, image: bytes) -> None:
        self.previews.append((node_id, media_type, image))

    def raw_wanted(self) -> bool:
        return True

    def said(self, message_json: bytes) -> None:
        self.messages.append(json.loads(message_json))

    def stored(self, outputs: tuple[Output, ...]) -> None:
        self.outputs = outputs
        self.has_output.set()

    def left(self) -> None:
        self.has_left.set()

    def file_token(self) -> str:
        return "token"


class _Listener:
    """Wakes whoever waits for a state of the backend."""

    def __init__(self) -> None:
        self.changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def backend_changed(self) -> None:
        task = asyncio.ensure_future(self._tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()


@dataclass(kw_only=True)
class Run:
    """One execution as a test sees it."""

    spec: ExecutionSpec
    key: ExecutionKey
    observer: RecordingObserver = field(default_factory=RecordingObserver)
    execution: Execution | None = None
    ending: Ending | None = None


class DriverRig:
    """One backend of the driver under test."""

    def __init__(
        self, *, backend: ComfyBackend, files: MemoryFiles, http: aiohttp.ClientSession, url: str, listener: _Listener
    ) -> None:
        self.backend = backend
        self.files = files
        self.url = url
        self._http = http
        self._listener = listener

    def spec(self, graph: dict[str, Any], **fields: Any) -> ExecutionSpec:
        """What to execute, under an id of its own."""
        fields.setdefault("output_prefix", f"comfyfleet-tests/{new_id()}")
        return ExecutionSpec(prompt_id=new_id(), graph_json=json.dumps(graph).encode(), **fields)

    @property
    def sleep_class(self) -> str:
        """A node that naps and can be interrupted: the server's own test node, or the stand-in's."""
        content = self.backend.catalogue(self.backend.state().capabilities_hash) or b""
        return "StandinSleepBeside" if b'"StandinSleepBeside"' in content else "TestSleep"

    def run_of(self, spec: ExecutionSpec) -> Run:
        """An execution that was not begun."""
        return Run(spec=spec, key=ExecutionKey(run_id=new_id(), attempt=1))

    async def execute(self, run: Run, *, stop_with: Ending | None = None, find: bool = False) -> Ending:
        """The whole life of an execution; with `stop_with` it is stopped once it executes."""
        assignment = Assignment(key=run.key, spec=run.spec, fleet_id=FLEET)
        try:
            async with self.backend.execution(assignment, run.observer) as execution:
                run.execution = execution
                if not (find and await execution.find()):
                    await execution.stage()
                    await execution.submit()
                if stop_with is not None:
                    async with asyncio.timeout(10):
                        await run.observer.began.wait()
                    execution.stop(stop_with)
                async with asyncio.timeout(40):
                    run.ending = await execution.follow()
        except ExecutionEnded as end:
            run.ending = end.ending
        return run.ending

    async def queue(self) -> dict[str, Any]:
        """The backend's queue."""
        async with self._http.get(self.url + "/queue") as response:
            return dict(await response.json())

    async def until_queued(self, run: Run) -> None:
        """Return once the backend's queue has the prompt; the backend is asked again and again, it tells nobody."""
        async with asyncio.timeout(10):
            while True:
                queue = await self.queue()
                items = [*queue["queue_running"], *queue["queue_pending"]]
                if any(item[1] == run.spec.prompt_id for item in items):
                    return

    async def history(self, prompt_id: str) -> dict[str, Any]:
        """The entry of an ended prompt; empty: none."""
        async with self._http.get(f"{self.url}/history/{prompt_id}") as response:
            return dict((await response.json()).get(prompt_id, {}))

    async def post(self, path: str, body: dict[str, Any]) -> None:
        """What somebody else asks of the backend."""
        async with self._http.post(self.url + path, json=body) as response:
            assert response.status == 200

    async def until(self, condition: Callable[[], Any], *, seconds: float = 15) -> None:
        """Wait until a state of the backend is as wanted."""
        async with asyncio.timeout(seconds), self._listener.changed:
            await self._listener.changed.wait_for(condition)


@asynccontextmanager
async def open_rig(url: str) -> AsyncIterator[DriverRig]:
    """The driver at a backend, which may be down."""
    listener, files = _Listener(), MemoryFiles()
    async with aiohttp.ClientSession(auto_decompress=False) as session, aiohttp.ClientSession() as http:
        backend = ComfyBackend(
            address=BackendAddress(local_key=url, url=url),
            session=session,
            files=files,
            listener=listener,
            stopwatch=time.monotonic,
        )
        backend.adopt_fleet(FLEET)
        task = asyncio.create_task(backend.run())
        rig = DriverRig(backend=backend, files=files, http=http, url=url, listener=listener)
        try:
            yield rig
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
