"""What the reconciler needs of a backend, whatever its kind, and what a backend needs of the rest of the room.

The life of one execution, as the reconciler drives it:
1. `find` where the backend may have the prompt already: found means adopted, and 2 to 3 are skipped.
2. `stage` brings the inputs to the backend.
3. `submit` hands the prompt over; a refusal raises `ExecutionEnded`.
4. `follow` returns the ending, all outputs stored.
`stop` may be called at any time after 1; `follow` then returns what really happened: a late success wins (A8).
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from services.dispatcher.model.desired import ExecutionKey, ExecutionSpec
from services.dispatcher.model.ending import Ending
from services.dispatcher.model.execution import Orphan
from services.dispatcher.model.output import Output, OutputHeader, StoredFile
from services.dispatcher.model.progress import Progress
from services.dispatcher.model.runner import BackendState


class ExecutionEnded(Exception):
    """The execution is over before it could be followed."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.outcome.value)
        self.ending = ending


class BackendAway(Exception):
    """The backend did not answer. `unanswered`: it may have taken what was sent (the settle rule of A6)."""

    def __init__(self, reason: str, *, unanswered: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.unanswered = unanswered


@dataclass(frozen=True, kw_only=True)
class BackendAddress:
    """Where a backend is."""

    local_key: str
    """The dispatcher's own name of it, stable across restarts."""
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One execution as a driver is given it."""

    key: ExecutionKey
    spec: ExecutionSpec
    fleet_id: str


class Observer(Protocol):
    """Is told what happens to one execution. Every method returns at once and may be called from any task."""

    def confirmed(self) -> None:
        """The backend has just confirmed this execution."""
        ...

    def staged(self, done_bytes: int, total_bytes: int) -> None:
        """So many bytes of the inputs are at the backend."""
        ...

    def started(self, *, said_so: bool) -> None:
        """It executes; `said_so`: by an execution_start, not by absence from the waiting."""
        ...

    def progressed(self, progress: Progress) -> None:
        """It is so far."""
        ...

    def preview_wanted(self) -> bool:
        """Whether anybody watches pictures."""
        ...

    def previewed(self, node_id: str, media_type: str, image: bytes) -> None:
        """A picture came."""
        ...

    def raw_wanted(self) -> bool:
        """Whether anybody watches the raw messages."""
        ...

    def said(self, message_json: bytes) -> None:
        """A message about it, as the backend wrote it."""
        ...

    def stored(self, outputs: tuple[Output, ...]) -> None:
        """All its outputs that are stored so far, ordinals without gaps."""
        ...

    def left(self) -> None:
        """Its prompt has left the backend's queue: another may enter, though outputs may still be on their way."""
        ...

    def file_token(self) -> str:
        """The newest token for its files (A14)."""
        ...


class Execution(Protocol):
    """One execution at one backend."""

    async def find(self) -> bool:
        """Whether the backend has the prompt; reads the queue, then the history (A6). Raises BackendAway."""
        ...

    async def stage(self) -> None:
        """Bring all inputs to the backend. Raises BackendAway, ExecutionEnded."""
        ...

    async def submit(self) -> None:
        """Hand the prompt over. Raises BackendAway, ExecutionEnded."""
        ...

    async def follow(self) -> Ending:
        """Wait for the end, through every absence of the backend, and store all outputs."""
        ...

    def stop(self, instead: Ending) -> None:
        """Remove the prompt (A8); `instead` is how it ends if that succeeds."""
        ...

    def recall(self, instead: Ending) -> None:
        """Remove the prompt if it only waits; one that executes goes on (A18)."""
        ...


class Backend(Protocol):
    """One backend."""

    runtime: str
    address: BackendAddress

    async def run(self) -> None:
        """Keep in touch until cancelled."""
        ...

    def state(self) -> BackendState:
        """What is known of it now."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether it answers and was recovered (A6)."""
        ...

    async def ready(self) -> None:
        """Return once it is."""
        ...

    def execution(self, assignment: Assignment, observer: Observer) -> AbstractAsyncContextManager[Execution]:
        """One execution; leaving the context ends its tasks and leaves its prompt alone."""
        ...

    def orphans(self) -> tuple[Orphan, ...]:
        """Prompts of this fleet at the backend that no execution here claims."""
        ...

    def remove(self, prompt_id: str) -> None:
        """Take a prompt out, in the background, until it is in neither list (A8)."""
        ...

    def adopt_fleet(self, fleet_id: str) -> None:
        """Learn the name of the own fleet, by which its prompts are known."""
        ...

    def catalogue(self, capabilities_hash: str) -> bytes | None:
        """The node catalogue of that hash, canonical JSON; None: it is another's."""
        ...


class Files(Protocol):
    """The file room, for one execution's token. Raises the kinds of `services.common.errors`."""

    def download(self, file_id: str, *, token: str) -> AsyncIterator[bytes]:
        """The bytes of an input, in pieces of up to 256 KiB."""
        ...

    async def put(self, header: OutputHeader, content: bytes, *, token: str) -> StoredFile:
        """Store a small output, at most 256 KiB; idempotent by its place."""
        ...

    async def upload(self, header: OutputHeader, content: AsyncIterator[bytes], *, token: str) -> StoredFile:
        """Store an output while it arrives; idempotent by its place."""
        ...


class BackendListener(Protocol):
    """Is told that a backend's state changed."""

    def backend_changed(self) -> None:
        """Something that a report would say is different."""
        ...


class Stopwatch(Protocol):
    """Monotonic seconds."""

    def __call__(self) -> float: ...


LONG_AGO = timedelta(days=365)
"""Age of what was never observed."""
