"""Which outputs can run, and what is said about the others."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.standin.catalogue import Catalogue
from services.standin.folders import Folders
from services.standin.nodes import all_nodes
from services.standin.validation import Validation, Verdict

NOWHERE = Folders(Path("/nonexistent"))
NODES = Catalogue(all_nodes(), folders=NOWHERE)


def verdict(prompt: Any, targets: Any = None) -> Verdict:
    """What validation says."""
    return Validation(prompt, catalogue=NODES, folders=NOWHERE).verdict(targets)


def empty(**inputs: Any) -> dict[str, Any]:
    """A node that makes a picture."""
    return {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0, **inputs}}


def preview(source: str) -> dict[str, Any]:
    """An output node."""
    return {"class_type": "PreviewImage", "inputs": {"images": [source, 0]}}


def kinds(found: Verdict, node_id: str) -> list[str]:
    """The types of a node's errors."""
    return [error["type"] for error in found.node_errors[node_id]["errors"]]


def test_literals_are_turned_in_place() -> None:
    """The queue shows what the node will get."""
    prompt = {"1": empty(width="64", height=64.9), "2": preview("1")}
    assert verdict(prompt).outputs == ["2"]
    assert prompt["1"]["inputs"]["width"] == 64
    assert prompt["1"]["inputs"]["height"] == 64


@pytest.mark.parametrize("seed", [0, 2**53 + 1, 2**63, 2**64 - 1])
def test_seeds_of_64_bits_stay_exact(seed: int) -> None:
    """No number passes through a float."""
    inputs = {"noise_seed": seed}
    verdict({"1": {"class_type": "RandomNoise", "inputs": inputs}, "2": preview("1")})
    assert inputs["noise_seed"] == seed


def test_number_beyond_64_bits_is_too_big() -> None:
    """Python's numbers have no end, but the input's bound does."""
    node = {"class_type": "RandomNoise", "inputs": {"noise_seed": 2**64}}
    found = verdict({"1": node, "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}}})
    assert kinds(found, "1") == ["value_bigger_than_max"]


def test_all_violations_are_named_at_once() -> None:
    """In one node and in several."""
    found = verdict({"1": empty(width=0, height=-5), "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}})
    assert kinds(found, "1") == ["value_smaller_than_min", "value_smaller_than_min"]
    assert kinds(found, "2") == ["required_input_missing"]


def test_one_good_output_is_enough() -> None:
    """The others are named, and never run."""
    found = verdict({"1": empty(), "2": preview("1"), "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}})
    assert found.error is None
    assert found.outputs == ["2"]
    assert list(found.node_errors) == ["3"]


def test_cycle_is_refused_without_a_reason() -> None:
    """As recorded: no node is blamed."""
    turn = {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}}
    back = {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}
    found = verdict({"1": turn, "2": back, "3": preview("2")})
    assert found.error is not None
    assert found.error["type"] == "prompt_outputs_failed_validation"
    assert found.node_errors == {}


def test_any_model_name_is_accepted_and_no_other_select() -> None:
    """A liberty of the stand-in: it has no model files, and vendors' graphs name theirs."""
    loader = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "somebody's.safetensors"}}
    assert verdict({"1": loader, "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}}}).error is None
    sampler = {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "magic"}}
    found = verdict({"1": sampler, "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}}})
    assert kinds(found, "1") == ["value_not_in_list"]
    assert found.node_errors["1"]["errors"][0]["extra_info"]["input_config"] is None


def test_targets_narrow_the_outputs() -> None:
    """Ids that are no outputs leave nothing."""
    prompt = {"1": empty(), "2": preview("1"), "3": preview("1")}
    assert verdict(prompt, ["3", "77"]).outputs == ["3"]
    refused = verdict(prompt, ["1"])
    assert refused.error is not None
    assert refused.error["type"] == "prompt_no_outputs"


def test_long_chain_needs_no_deep_stack() -> None:
    """Thousands of nodes in a row."""
    chain: dict[str, Any] = {"0": empty()}
    for number in range(1, 3000):
        chain[str(number)] = {"class_type": "ImageInvert", "inputs": {"image": [str(number - 1), 0]}}
    assert verdict({**chain, "out": preview("2999")}).outputs == ["out"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
GRAPHS = st.dictionaries(
    st.sampled_from(["1", "2", "3", "4"]),
    st.fixed_dictionaries(
        {
            "class_type": st.sampled_from(["EmptyImage", "ImageInvert", "ImageBatch", "PreviewImage", "SaveImage"]),
            "inputs": st.dictionaries(
                st.sampled_from(["image", "images", "image1", "image2", "width", "height", "color", "filename_prefix"]),
                VALUES | st.tuples(st.sampled_from(["1", "2", "3", "9"]), st.integers(-2, 2)).map(list),
                max_size=5,
            ),
        }
    ),
    max_size=4,
)


@given(GRAPHS)
def test_no_graph_of_known_classes_breaks_validation(prompt: dict[str, Any]) -> None:
    """Whatever the inputs hold: a verdict, and never both outputs and an error."""
    found = verdict(prompt)
    assert bool(found.outputs) == (found.error is None)
    for problem in found.node_errors.values():
        assert problem["errors"]
        assert problem["dependent_outputs"]
