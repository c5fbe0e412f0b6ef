"""The file room's ear on the event bus: the ends of runs."""

from typing import Protocol

from comfyfleet.events.v1 import event_pb2

from services.file.model.run_fate import has_ended

DURABLE = "file-run-ends"
SUBJECTS = ("comfyfleet.*.run.run_state_changed",)


class Concluding(Protocol):
    """Whoever lets go a run's files; `RunFiles` does."""

    async def conclude(self, run_id: str, *, request_id: str | None = None) -> None:
        """The run has ended."""
        ...


class RunEnds:
    """Lets go a run's files when it has ended. The sweep does the same within a minute where no event comes."""

    def __init__(self, *, run_files: Concluding) -> None:
        self._run_files = run_files

    async def receive(self, _subject: str, body: bytes) -> None:
        """Take one fact of the run room; all but the end of a run are none of ours."""
        event = event_pb2.Event.FromString(body)
        change = event.run_state_changed
        if event.WhichOneof("fact") != "run_state_changed" or not has_ended(change.state):
            return
        await self._run_files.conclude(change.run_id, request_id=event.request_id or None)
