"""One execution as the dispatcher reports it.

Its phases: Staging → Waiting (at the dispatcher) → Waiting (submitted) → Running → Finished; each may be skipped, none
is entered twice, and every phase may go to Finished at once.
"""

from dataclasses import dataclass
from datetime import timedelta

from services.dispatcher.model.desired import ExecutionKey
from services.dispatcher.model.ending import Ending
from services.dispatcher.model.output import Output
from services.dispatcher.model.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Staging:
    """Its inputs go to the backend."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """It waits."""

    submitted: bool
    """True: in the backend's own queue; False: at the dispatcher."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """The backend executes it."""

    progress: Progress | None
    elapsed: timedelta
    backend_started: bool
    """True: the backend said so; False: it is only known not to be waiting."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """It ended."""

    ending: Ending


Phase = Staging | Waiting | Running | Finished


@dataclass(frozen=True, kw_only=True)
class ExecutionReport:
    """One execution in a CurrentState."""

    key: ExecutionKey
    runner_id: str
    epoch: int
    observed_age: timedelta
    phase: Phase
    staged_bytes: int = 0
    stage_total_bytes: int = 0
    outputs_count: int = 0
    outputs: tuple[Output, ...] = ()
    """Those whose ordinal is at least the acknowledged number (A16)."""
    orphan: bool = False
    """Found at the backend, of this fleet, and not desired."""


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """A prompt of this fleet that nobody desires, on its way out."""

    key: ExecutionKey
    prompt_id: str
    running: bool


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A picture of what a node is making."""

    key: ExecutionKey
    node_id: str
    media_type: str
    image: bytes
    number: int
    """Count of the execution's previews, from 1."""
