"""What the run room says of a run."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RunFate:
    """A run that exists."""

    run_id: str
    ended: bool
    output_file_ids: frozenset[str]
    """What it refers to. Once it has ended, any other file it made is an orphan (EXECUTION C7)."""


_ENDED = frozenset({5, 6, 7, 8, 9})
"""SUCCEEDED, FAILED, CANCELLED, TIMED_OUT and INVALID, by their numbers in the contract, which never change."""


def has_ended(state: int) -> bool:
    """Whether a run in this state of the contract's `RunState` never changes again; one that we do not know has not."""
    return state in _ENDED
