"""The stand-in describes its nodes as the recorded server described its own."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from services.standin.catalogue import Catalogue
from services.standin.folders import Folders
from services.standin.nodes import all_nodes
from tests.conformance.normal import normal
from tests.conformance.recording import traces

OWN_NODES = "Standin"


def recorded() -> dict[str, Any]:
    """The whole recorded answer to /object_info."""
    folder = traces()
    if folder is None:
        pytest.skip("COMFYUI_TRACES names no directory with recordings of a ComfyUI server")
    with gzip.open(folder / "object_info.json.gz", "rt", encoding="utf-8") as source:
        content: dict[str, Any] = json.load(source)
        return content


def described(folder: Path) -> dict[str, Any]:
    """Our own answer, as a client reads it."""
    folders = Folders(folder)
    folders.prepare()
    answer: dict[str, Any] = json.loads(json.dumps(Catalogue(all_nodes(), folders=folders).object_info()))
    return answer


def comparable(definition: dict[str, Any], names: frozenset[str]) -> Any:
    """A definition without words, and without the choices of inputs that list files."""
    plain = normal(definition)
    for section in plain["input"].values():
        for name in names & section.keys():
            spec = section[name]
            if isinstance(spec[0], list):
                spec[0] = ["<files>"]
            elif "options" in spec[1]:
                spec[1]["options"] = ["<files>"]
    plain["output_tooltips"] = ["<words>"] * len(plain.get("output_tooltips", []))
    return plain


def test_every_node_has_the_recorded_sockets(tmp_path: Path) -> None:
    """Types, bounds, defaults, orders, names and flags are equal; words and file lists are our own."""
    theirs, ours = recorded(), described(tmp_path)
    files = {one.class_type: frozenset(one.free_choices | one.listings.keys()) for one in all_nodes()}
    checked = 0
    for class_type, definition in ours.items():
        if class_type.startswith(OWN_NODES):
            assert class_type not in theirs
            continue
        names = files[class_type]
        assert comparable(definition, names) == comparable(theirs[class_type], names), class_type
        order = [list(section) for section in definition["input"].values()]
        assert order == [list(section) for section in theirs[class_type]["input"].values()], class_type
        checked += 1
    assert checked > 100
