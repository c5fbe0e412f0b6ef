"""Refusals of a prompt: whose fault, and what is missing (A11)."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.drivers.comfyui.refusal import ending_of_refusal
from services.dispatcher.model.ending import Ending, Outcome
from tests.unit.dispatcher.hostile import JSON

KNOWN = frozenset({"LoadImage", "SaveImage", "KSampler"})
GRAPH = {"1": {"class_type": "LoadImage", "inputs": {}}, "2": {"class_type": "NoSuch", "inputs": {}}}


def refusal(kind: str, node_errors: Any = None, message: str = "No.") -> dict[str, Any]:
    return {
        "error": {"type": kind, "message": message, "details": "", "extra_info": {}},
        "node_errors": node_errors or {},
    }


def node_error(*kinds: str, value: Any = "sd_xl.safetensors") -> dict[str, Any]:
    errors = [
        {
            "type": kind,
            "message": f"About {kind}",
            "details": "d",
            "extra_info": {"input_name": "ckpt_name", "received_value": value},
        }
        for kind in kinds
    ]
    return {"errors": errors, "dependent_outputs": ["9"], "class_type": "CheckpointLoaderSimple"}


def judged(answer: dict[str, Any], *, status: int = 400, known: frozenset[str] = KNOWN) -> Ending:
    return ending_of_refusal(status, answer, graph=GRAPH, known_classes=known)


def test_unknown_class_may_be_known_elsewhere() -> None:
    ending = judged(refusal("invalid_prompt", message="Cannot execute because node NoSuch does not exist."))
    assert ending.outcome is Outcome.REJECTED_HERE
    assert ending.missing_capabilities == ("NoSuch",)
    assert ending.failure is not None
    assert ending.failure.retryable


def test_unknown_class_is_named_by_the_message_where_no_catalogue_is_known() -> None:
    answer = refusal("invalid_prompt", message="Cannot execute because node NoSuch does not exist.")
    assert judged(answer, known=frozenset()).missing_capabilities == ("NoSuch",)


def test_node_without_a_class_is_nobodys() -> None:
    graph: dict[str, Any] = {"1": {"inputs": {}}}
    ending = ending_of_refusal(400, refusal("invalid_prompt"), graph=graph, known_classes=KNOWN)
    assert ending.outcome is Outcome.INVALID


def test_missing_model_may_be_elsewhere_and_is_named() -> None:
    ending = judged(refusal("prompt_outputs_failed_validation", {"4": node_error("value_not_in_list")}))
    assert ending.outcome is Outcome.REJECTED_HERE
    assert ending.missing_capabilities == ("sd_xl.safetensors",)
    assert ending.failure is not None
    assert (ending.failure.node_id, ending.failure.node_class) == ("4", "CheckpointLoaderSimple")


def test_own_validation_of_a_node_may_pass_elsewhere() -> None:
    ending = judged(refusal("prompt_outputs_failed_validation", {"4": node_error("custom_validation_failed")}))
    assert ending.outcome is Outcome.REJECTED_HERE
    assert ending.missing_capabilities == ("CheckpointLoaderSimple.ckpt_name",)


def test_one_fault_of_the_graph_makes_it_invalid_everywhere() -> None:
    errors = {"4": node_error("value_not_in_list"), "5": node_error("required_input_missing")}
    ending = judged(refusal("prompt_outputs_failed_validation", errors))
    assert ending.outcome is Outcome.INVALID
    assert ending.failure is not None
    assert ending.failure.node_id == "5"
    assert not ending.failure.retryable


def test_cycle_without_any_reason_is_invalid() -> None:
    assert judged(refusal("prompt_outputs_failed_validation")).outcome is Outcome.INVALID


def test_graph_that_is_too_large_here_may_fit_elsewhere() -> None:
    assert judged({}, status=413).outcome is Outcome.REJECTED_HERE


@given(error=JSON, node_errors=JSON, told=JSON, status=st.sampled_from([200, 400, 404, 413]))
def test_any_refusal_ends_the_execution(error: Any, node_errors: Any, told: Any, status: int) -> None:
    for answer in ({"error": error, "node_errors": node_errors}, {"node_errors": {"1": {"errors": [told], "x": told}}}):
        assert judged(answer, status=status).outcome in (Outcome.INVALID, Outcome.REJECTED_HERE)
