"""How far an execution is."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.drivers.comfyui.progress import ProgressTracker
from tests.unit.dispatcher.hostile import JSON

CLASSES = {"1": "EmptyImage", "2": "KSampler", "3": "SaveImage", "4": "PreviewImage"}


class Hand:
    """A stopwatch that the test moves."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def test_cached_finished_and_running_nodes_make_the_share() -> None:
    hand = Hand()
    tracker = ProgressTracker(CLASSES, stopwatch=hand)
    tracker.begin()
    tracker.cached(["1"])
    tracker.executing("2")
    hand.at = 2.0
    tracker.state({"2": {"state": "running", "value": 10, "max": 20}})
    now = tracker.now()
    assert now.fraction == (1 + 0.5) / 4
    assert (now.node_id, now.node_class, now.node_value, now.node_maximum) == ("2", "KSampler", 10, 20)
    assert (now.nodes_done, now.nodes_total) == (1, 4)
    assert now.elapsed.total_seconds() == 2.0
    tracker.state({"2": {"state": "finished", "value": 20, "max": 20}})
    assert tracker.now().nodes_done == 2
    (timing,) = tracker.timings()
    assert (timing.node_id, timing.duration.total_seconds()) == ("2", 2.0)


def test_nodes_of_an_expansion_do_not_count_as_nodes() -> None:
    tracker = ProgressTracker(CLASSES, stopwatch=Hand())
    tracker.state({"2.0.0.1": {"state": "finished", "value": 1, "max": 1}})
    assert tracker.now().nodes_done == 0


def test_text_belongs_to_its_node() -> None:
    tracker = ProgressTracker(CLASSES, stopwatch=Hand())
    tracker.executing("2")
    tracker.said("loading")
    assert tracker.now().text == "loading"
    tracker.executing("3")
    assert tracker.now().text == ""


@given(st.lists(st.tuples(st.sampled_from(["cached", "executing", "stepped", "state"]), JSON), max_size=20))
def test_share_never_falls_whatever_is_said(told: list[tuple[str, Any]]) -> None:
    tracker = ProgressTracker(CLASSES, stopwatch=Hand())
    last = 0.0
    for kind, body in told:
        if kind == "stepped":
            tracker.stepped({"node": "2", "value": body, "max": 20})
        else:
            getattr(tracker, kind)(body)
        fraction = tracker.now().fraction
        assert last <= fraction <= 1.0
        last = fraction
