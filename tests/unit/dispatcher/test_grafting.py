"""What is changed in a graph, and what is not."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.drivers.comfyui.grafting import Graft, frame_nodes, grafted, models_of, prefixed
from services.dispatcher.model.desired import ExecutionInput

GRAPH: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "deep/x"}},
    "3": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    "4": {"class_type": "KSampler", "inputs": {"seed": 2**64 - 1, "filename": "x"}},
}
OUTPUTS = frozenset({"SaveImage", "PreviewImage"})


def wanted(path: str, position: int | None = None) -> ExecutionInput:
    return ExecutionInput(
        node_id="1", path=path, file_id="f", sha256="0", size_bytes=1, file_name="a.png", position=position
    )


def test_files_are_saved_in_the_runs_own_folder() -> None:
    made = grafted(GRAPH, Graft(output_prefix="runs/7", output_classes=OUTPUTS, names={}))
    assert made["2"]["inputs"]["filename_prefix"] == "runs/7/deep/x"
    assert GRAPH["2"]["inputs"]["filename_prefix"] == "deep/x"


def test_only_outputs_without_a_folder_of_their_own_are_salted() -> None:
    made = grafted(GRAPH, Graft(output_prefix="runs/7", cache_salt="s", output_classes=OUTPUTS, names={}))
    assert made["3"]["inputs"]["comfyfleet_salt"] == "s"
    assert "comfyfleet_salt" not in made["2"]["inputs"]
    assert "comfyfleet_salt" not in made["4"]["inputs"]


def test_after_a_loss_every_output_is_salted() -> None:
    graft = Graft(output_prefix="runs/7", cache_salt="s", salt_all=True, output_classes=OUTPUTS, names={})
    assert grafted(GRAPH, graft)["2"]["inputs"]["comfyfleet_salt"] == "s"


def test_linked_prefix_stays_and_is_salted() -> None:
    graph = {"2": {"class_type": "SaveImage", "inputs": {"filename_prefix": ["9", 0]}}}
    made = grafted(graph, Graft(output_prefix="runs/7", cache_salt="s", output_classes=OUTPUTS, names={}))
    assert made["2"]["inputs"] == {"filename_prefix": ["9", 0], "comfyfleet_salt": "s"}


def test_names_of_files_take_the_place_of_values() -> None:
    assert grafted(GRAPH, Graft(names={wanted("image"): "c/x.png"}))["1"]["inputs"]["image"] == "c/x.png"


def test_names_reach_into_lists_and_nested_values() -> None:
    graph: dict[str, Any] = {"1": {"class_type": "X", "inputs": {"images": ["a"], "deep": {"file": "a"}, "a.b": "c"}}}
    names = {wanted("images", 1): "n1", wanted("deep.file"): "n2", wanted("a.b"): "n3"}
    made = grafted(graph, Graft(names=names))
    assert made["1"]["inputs"] == {"images": ["a", "n1"], "deep": {"file": "n2"}, "a.b": "n3"}


@given(st.text(max_size=60))
def test_no_prefix_leaves_the_runs_folder(original: str) -> None:
    parts = prefixed("runs/7", original).split("/")
    assert parts[:2] == ["runs", "7"]
    assert len(parts) > 2
    assert not {"", ".", ".."} & set(parts)


def test_graph_keeps_its_64_bit_integers() -> None:
    made = grafted(GRAPH, Graft(output_prefix="p", names={}))
    assert json.loads(json.dumps(made))["4"]["inputs"]["seed"] == 2**64 - 1


def test_nodes_that_are_no_objects_stay() -> None:
    graph: dict[str, Any] = {"1": 5, "2": {"class_type": "X", "inputs": []}, "3": {}}
    assert grafted(graph, Graft(output_prefix="p", cache_salt="s", names={wanted("image"): "n"})) == graph


def test_models_and_frame_nodes_are_found() -> None:
    graph = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd.safetensors"}},
        "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
    }
    assert models_of(graph) == ("sd.safetensors",)
    assert frame_nodes(graph) == {"2"}
