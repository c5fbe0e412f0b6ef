"""What counts as the same result."""

from pathlib import Path
from typing import Any

from services.standin.cache import ResultCache
from services.standin.catalogue import Catalogue
from services.standin.folders import Folders
from services.standin.model.graph import Graph
from services.standin.nodes import all_nodes


def cache(folder: Path) -> ResultCache:
    """An empty cache."""
    folders = Folders(folder)
    folders.prepare()
    return ResultCache(catalogue=Catalogue(all_nodes(), folders=folders), folders=folders)


def pair(first: str, second: str, **inputs: Any) -> Graph:
    """A picture and its inversion, under these ids."""
    return Graph(
        {
            first: {"class_type": "EmptyImage", "inputs": {"width": 8, **inputs}},
            second: {"class_type": "ImageInvert", "inputs": {"image": [first, 0]}},
        }
    )


def test_results_are_shared_across_node_ids(tmp_path: Path) -> None:
    """Only what a node is made of counts."""
    results = cache(tmp_path)
    results.begin(pair("1", "2"))
    results.keep_outputs("2", [["inverted"]])
    results.begin(pair("a", "b"))
    assert results.outputs("b") == [["inverted"]]
    assert results.outputs("a") is None


def test_any_input_above_makes_another_result(tmp_path: Path) -> None:
    """Unknown inputs too."""
    results = cache(tmp_path)
    results.begin(pair("1", "2"))
    results.keep_outputs("2", [["inverted"]])
    results.begin(pair("1", "2", nonsense=5))
    assert results.outputs("2") is None


def test_what_a_prompt_does_not_use_is_dropped(tmp_path: Path) -> None:
    """A result lives from one prompt to the next."""
    results = cache(tmp_path)
    results.begin(pair("1", "2"))
    results.keep_outputs("2", [["inverted"]])
    results.begin(Graph({}))
    results.begin(pair("1", "2"))
    assert results.outputs("2") is None


def test_other_bytes_under_the_same_name_are_another_picture(tmp_path: Path) -> None:
    """Loaded files count by their content."""
    results = cache(tmp_path)
    source = tmp_path / "input" / "cat.png"
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}}}
    source.write_bytes(b"one")
    results.begin(Graph(graph))
    results.keep_outputs("1", [["cat"]])
    results.begin(Graph(graph))
    assert results.outputs("1") == [["cat"]]
    source.write_bytes(b"two")
    results.begin(Graph(graph))
    assert results.outputs("1") is None


def test_shared_and_equal_sources_differ(tmp_path: Path) -> None:
    """One picture used twice is not two equal pictures."""
    results = cache(tmp_path)
    make = {"class_type": "EmptyImage", "inputs": {"width": 8}}

    def joined(second: str) -> dict[str, Any]:
        return {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": [second, 0]}}

    results.begin(Graph({"1": make, "2": make, "3": joined("1")}))
    results.keep_outputs("3", [["batch"]])
    results.begin(Graph({"1": make, "2": make, "3": joined("2")}))
    assert results.outputs("3") is None


def test_long_chain_needs_no_deep_stack(tmp_path: Path) -> None:
    """Thousands of nodes in a row."""
    results = cache(tmp_path)
    chain: dict[str, Any] = {"0": {"class_type": "EmptyImage", "inputs": {}}}
    for number in range(1, 400):
        chain[str(number)] = {"class_type": "ImageInvert", "inputs": {"image": [str(number - 1), 0]}}
    results.begin(Graph(chain))
    assert len(results.node_ids()) == 400
