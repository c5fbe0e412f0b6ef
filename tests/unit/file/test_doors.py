"""What the file room's outer doors make of the run room's words."""

from comfyfleet.events.v1 import event_pb2
from comfyfleet.run.v1 import run_pb2

from services.common.ids import new_id
from services.file.consumer import RunEnds
from services.file.model.run_fate import has_ended


class Concluded:
    """Remembers which runs were concluded."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, str | None]] = []

    async def conclude(self, run_id: str, *, request_id: str | None = None) -> None:
        self.runs.append((run_id, request_id))


def test_the_ended_states_are_those_of_the_contract() -> None:
    names = {name for name, number in run_pb2.RunState.items() if has_ended(number)}
    assert names == {f"RUN_STATE_{each}" for each in ("SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "INVALID")}


async def test_only_the_end_of_a_run_concludes_it() -> None:
    concluded, run_id = Concluded(), new_id()
    ends = RunEnds(run_files=concluded)
    output = event_pb2.Event(id=new_id())
    output.run_output_added.run_id = run_id
    for event in (output, state_changed(run_id, 4), state_changed(run_id, 99), event_pb2.Event(id=new_id())):
        await ends.receive("comfyfleet.t.run.x", event.SerializeToString())
    assert concluded.runs == []
    await ends.receive("comfyfleet.t.run.x", state_changed(run_id, 6).SerializeToString())
    assert concluded.runs == [(run_id, "call-1")]


def state_changed(run_id: str, state: int) -> event_pb2.Event:
    event = event_pb2.Event(id=new_id(), request_id="call-1")
    event.run_state_changed.run_id = run_id
    event.run_state_changed.state = state  # type: ignore[assignment]  # also one that this contract does not name
    return event
