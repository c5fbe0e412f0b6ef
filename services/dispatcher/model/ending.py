"""How an execution ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum


class Outcome(Enum):
    """The kinds of end; their names are the contract's."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"
    REJECTED_HERE = "REJECTED_HERE"
    TIMED_OUT = "TIMED_OUT"
    LOST = "LOST"
    OUTPUT_LOST = "OUTPUT_LOST"
    RECALLED = "RECALLED"
    HANDED_BACK = "HANDED_BACK"
    INVALID = "INVALID"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an execution did not succeed."""

    code: str
    """UPPER_SNAKE."""
    message: str
    """One sentence."""
    node_id: str = ""
    node_class: str = ""
    exception_type: str = ""
    traceback: tuple[str, ...] = ()
    """At most 64 KiB in all."""
    retryable: bool = False
    """True: the same run may succeed elsewhere or later."""


@dataclass(frozen=True, kw_only=True)
class NodeTiming:
    """How long a node executed, by the clock of the frames' arrival."""

    node_id: str
    duration: timedelta


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The end of an execution."""

    outcome: Outcome
    failure: Failure | None = None
    execution: timedelta = timedelta(0)
    """How long the backend executed it; 0: it did not begin."""
    node_timings: tuple[NodeTiming, ...] = ()
    cached_nodes: tuple[str, ...] = ()
    missing_capabilities: tuple[str, ...] = ()
    """Node classes, models or other values that this backend refused (A11)."""


def ended(outcome: Outcome, code: str, message: str, *, retryable: bool = False, missing: Sequence[str] = ()) -> Ending:
    """An ending that no node is to blame for."""
    failure = Failure(code=code, message=message, retryable=retryable)
    return Ending(outcome=outcome, failure=failure, missing_capabilities=tuple(missing))
