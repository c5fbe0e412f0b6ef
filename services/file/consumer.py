"""The file room's ear on the event bus: the ends of runs."""

from comfyfleet.events.v1 import event_pb2

from services.file.peers.runs import ENDED
from services.file.service.run_files import RunFiles

DURABLE = "file-run-ends"
SUBJECTS = ("comfyfleet.*.run.>",)


class RunEnds:
    """Lets go a run's files when it has ended. The sweep does the same within a minute where no event comes."""

    def __init__(self, *, run_files: RunFiles) -> None:
        self._run_files = run_files

    async def receive(self, _subject: str, body: bytes) -> None:
        """Take one fact of the run room; all but the end of a run are none of ours."""
        event = event_pb2.Event.FromString(body)
        if event.WhichOneof("fact") != "run_state_changed" or event.run_state_changed.state not in ENDED:
            return
        await self._run_files.conclude(event.run_state_changed.run_id, request_id=event.request_id or None)
