"""Words to the queue, after a commit: they save time, nothing depends on them."""

from typing import Protocol


class Wakes(Protocol):
    """Whoever places runs and speaks with dispatchers."""

    def assigned(self, dispatcher_id: str) -> None:
        """That dispatcher was given a run."""
        ...

    def queued(self) -> None:
        """A run waits that found no runner at once."""
        ...

    def cancel_requested(self, dispatcher_id: str) -> None:
        """A run at that dispatcher is to stop."""
        ...
