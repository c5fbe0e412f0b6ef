"""The rules of the comparison let through what they name, and nothing else."""

from typing import Any

import pytest

from tests.conformance.normal import Names, normal, settled


def frame(kind: str, **data: Any) -> dict[str, Any]:
    """A text frame."""
    return {"json": {"type": kind, "data": data}}


def test_any_other_value_is_a_difference() -> None:
    """A value without a rule counts."""
    assert normal({"queue_remaining": 1}) != normal({"queue_remaining": 2})
    assert normal({"a": 64}) != normal({"a": "64"})
    assert normal({"type": "required_input_missing", "details": "x"}) != normal(
        {"type": "required_input_missing", "details": "y"}
    )


def test_order_counts_outside_the_named_sets() -> None:
    """Node lists of execution_cached have an order; executed has none."""
    assert normal({"executed": ["1", "2"]}) == normal({"executed": ["2", "1"]})
    assert normal({"nodes": ["1", "2"]}) != normal({"nodes": ["2", "1"]})


def test_times_have_to_be_times() -> None:
    """A timestamp may be any time, but has to be one."""
    assert normal({"timestamp": 1795296680133}) == normal({"timestamp": 1795296680134})
    with pytest.raises(AssertionError):
        normal({"timestamp": 12})


def test_traceback_may_not_be_empty_on_one_side_only() -> None:
    """Texts of tracebacks are free, their presence is not."""
    assert normal({"traceback": ["a", "b"]}) == normal({"traceback": ["c"]})
    assert normal({"traceback": ["a"]}) != normal({"traceback": []})


def test_one_name_stands_for_one_name() -> None:
    """Ids correspond one to one."""
    names = Names()
    names.learn("theirs", "ours")
    assert names.translate("/history/theirs") == "/history/ours"
    with pytest.raises(AssertionError):
        names.learn("theirs", "another")
    with pytest.raises(AssertionError):
        names.learn("other", "ours")


def test_chosen_message_of_a_failure_counts() -> None:
    """The message that a request chose has to come back."""
    told = {"node_type": "LabError", "exception_message": "chosen\n", "exception_type": "RuntimeError"}
    assert normal(told) != normal({**told, "exception_message": "other\n"})
    assert normal(told) != normal({**told, "exception_type": "ValueError"})


def test_only_statuses_move_and_only_among_reports() -> None:
    """A status may move past progress, but not past the start or end of a node."""
    status, report, executing = frame("status", n=1), frame("progress", value=1), frame("executing", prompt_id="p")
    assert settled([report, status]) == settled([status, report])
    assert settled([executing, status]) != settled([status, executing])
    assert settled([report, executing]) != settled([executing, report])


def test_missing_frame_is_a_difference() -> None:
    """Progress by steps counts step by step."""
    one, two = frame("progress", value=1), frame("progress", value=2)
    assert settled([one, two]) != settled([two])
