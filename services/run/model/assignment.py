"""A run given to a runner."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.run.model.event import LoggedEvent
from services.run.model.run import Run


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """What one assigning transaction did, for those who announce it after the commit."""

    run: Run
    """As it is now: DISPATCHED."""
    events: Sequence[LoggedEvent]
    """What was logged for it, in order."""
    dispatcher_id: str
    """Who is to be woken."""
