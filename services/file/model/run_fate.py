"""What the run room says of a run."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RunFate:
    """A run that exists."""

    run_id: str
    ended: bool
    output_file_ids: frozenset[str]
    """What it refers to. Once it has ended, any other file it made is an orphan (EXECUTION C7)."""
