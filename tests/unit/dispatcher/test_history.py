"""What entries of the history mean: messages decide, not `status_str`."""

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.drivers.comfyui.failure import bounded_lines
from services.dispatcher.drivers.comfyui.history import End, interpret
from tests.unit.dispatcher.hostile import JSON

START = ["execution_start", {"prompt_id": "p", "timestamp": 1000}]
CACHED = ["execution_cached", {"nodes": ["1"], "prompt_id": "p", "timestamp": 1001}]
SUCCESS = ["execution_success", {"prompt_id": "p", "timestamp": 1042}]


def entry(*messages: Any, status: str = "success", completed: bool = True) -> dict[str, Any]:
    return {
        "prompt": [0, "p", {}, {}, ["9"]],
        "outputs": {"9": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}},
        "status": {"status_str": status, "completed": completed, "messages": list(messages)},
    }


def error(exception_type: str, message: str = "it broke\n") -> list[Any]:
    body = {
        "node_id": "2",
        "node_type": "LabError",
        "exception_type": exception_type,
        "exception_message": message,
        "traceback": ["one\n", "two\n"],
        "timestamp": 1010,
    }
    return ["execution_error", body]


def test_success_with_its_time_and_cached_nodes() -> None:
    told = interpret(entry(START, CACHED, SUCCESS))
    assert told.end is End.SUCCESS
    assert told.execution == timedelta(milliseconds=42)
    assert told.cached_nodes == ("1",)
    assert told.output_nodes == ("9",)
    assert list(told.outputs) == ["9"]


def test_interrupt_is_told_from_an_error_by_its_last_message() -> None:
    told = interpret(entry(START, ["execution_interrupted", {"timestamp": 1005}], status="error", completed=False))
    assert told.end is End.INTERRUPTED


def test_cycle_is_an_error_although_the_status_says_success() -> None:
    told = interpret(entry(START, error("graph.DependencyCycleError")))
    assert told.end is End.ERROR


def test_error_of_a_node_is_not_retryable() -> None:
    failure = interpret(entry(START, error("RuntimeError"))).failure
    assert failure is not None
    assert (failure.code, failure.retryable, failure.message) == ("NODE_ERROR", False, "it broke")
    assert failure.traceback == ("one\n", "two\n")


def test_memory_that_ran_out_is_retryable() -> None:
    for exception_type in ("torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError", "MemoryError"):
        failure = interpret(entry(START, error(exception_type))).failure
        assert failure is not None
        assert (failure.code, failure.retryable) == ("OUT_OF_MEMORY", True)


def test_broken_device_is_retryable() -> None:
    failure = interpret(entry(START, error("RuntimeError", "CUDA error: unspecified launch failure"))).failure
    assert failure is not None
    assert (failure.code, failure.retryable) == ("DEVICE_ERROR", True)


def test_entry_that_says_nothing_may_be_tried_again() -> None:
    told = interpret({})
    assert told.end is End.ERROR
    assert told.failure is not None
    assert told.failure.retryable


def test_traceback_keeps_its_last_lines_within_its_limit() -> None:
    lines = bounded_lines([f"{number} {'x' * 1000}" for number in range(200)])
    assert sum(len(line) for line in lines) <= 64 * 1024
    assert lines[-1].startswith("199 ")


@given(status=JSON, outputs=JSON, prompt=JSON, messages=st.lists(JSON, max_size=3), body=JSON)
def test_any_entry_has_a_meaning(status: Any, outputs: Any, prompt: Any, messages: list[Any], body: Any) -> None:
    interpret({"status": status, "outputs": outputs, "prompt": prompt})
    messages = [*messages, ["execution_error", body], ["execution_cached", body], ["execution_start", body]]
    interpret({"status": {"messages": messages}, "outputs": outputs, "prompt": prompt})
