"""What the queue says, and whose its prompts are."""

from typing import Any

from hypothesis import given

from services.common.ids import new_id
from services.dispatcher.drivers.comfyui.queue import read_queue
from tests.unit.dispatcher.hostile import JSON


def item(prompt_id: str, extra_data: Any) -> list[Any]:
    return [0, prompt_id, {}, extra_data, ["9"]]


def mark(run_id: str, attempt: Any = 1) -> dict[str, Any]:
    return {"comfyfleet": {"fleet": "f", "run_id": run_id, "attempt": attempt}, "client_id": "c"}


def test_prompts_are_known_by_their_mark() -> None:
    run_id = new_id()
    reading = read_queue(
        {"queue_running": [item("a", mark(run_id, 3))], "queue_pending": [item("b", {})]}, asked_at=1.0
    )
    assert reading.count == 2
    ours, strangers = reading.items["a"], reading.items["b"]
    assert ours.running
    assert ours.client_id == "c"
    assert ours.mark is not None
    assert (ours.mark.fleet_id, ours.mark.key.run_id, ours.mark.key.attempt) == ("f", run_id, 3)
    assert not strangers.running
    assert strangers.mark is None


def test_marks_that_no_fleet_writes_are_strangers() -> None:
    for extra_data in (
        mark("no uuid"),
        mark(new_id(), 0),
        mark(new_id(), "1"),
        mark(new_id(), 2**40),
        {"comfyfleet": 1},
    ):
        assert read_queue({"queue_pending": [item("a", extra_data)]}, asked_at=0).items["a"].mark is None


@given(running=JSON, pending=JSON, extra_data=JSON)
def test_any_answer_is_read(running: Any, pending: Any, extra_data: Any) -> None:
    read_queue({"queue_running": running, "queue_pending": pending}, asked_at=0)
    read_queue({"queue_running": [item("a", extra_data)]}, asked_at=0)
