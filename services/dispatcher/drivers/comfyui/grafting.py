"""What is changed in a graph before it is submitted: names of files, output folder, salt. Pure."""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.dispatcher.model.desired import ExecutionInput

Json = dict[str, Any]

PREFIX_INPUT = "filename_prefix"
SALT_INPUT = "comfyfleet_salt"
"""An input that no node knows: ComfyUI ignores it, but it changes the node's cache key (PROTOCOL.md §3)."""
FRAME_CLASSES = frozenset({"SaveImageWebsocket"})
"""Output nodes whose files exist only as frames of the socket."""
_MODEL_FILE = re.compile(r"\.(safetensors|sft|ckpt|pt|pth|bin|gguf)$", re.IGNORECASE)
_MAX_MODELS = 16


@dataclass(frozen=True, kw_only=True)
class Graft:
    """What to change."""

    output_prefix: str = ""
    cache_salt: str = ""
    salt_all: bool = False
    """Also salt nodes with a prefix: after an output was lost (A12), so that it is certainly made again."""
    output_classes: frozenset[str] = frozenset()
    names: Mapping[ExecutionInput, str]
    """Name at the backend of each input file."""


def grafted(graph: Json, graft: Graft) -> Json:
    """A copy of `graph` as it is submitted; nodes that are no objects stay as they are, for the backend to refuse."""
    made: Json = copy.deepcopy(graph)
    for node in made.values():
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict):
            _place_output(node, graft)
    for wanted, name in graft.names.items():
        node = made.get(wanted.node_id)
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict):
            _place_name(node["inputs"], wanted, name)
    return made


def frame_nodes(graph: Json) -> frozenset[str]:
    """Ids of the nodes whose outputs come as frames only."""
    return frozenset(
        node_id for node_id, node in graph.items() if isinstance(node, dict) and node.get("class_type") in FRAME_CLASSES
    )


def classes_of(graph: Json) -> dict[str, str]:
    """Class of each node."""
    pairs = ((node_id, node.get("class_type")) for node_id, node in graph.items() if isinstance(node, dict))
    return {node_id: name for node_id, name in pairs if isinstance(name, str)}


def models_of(graph: Json) -> tuple[str, ...]:
    """Names of model files among the literals, which the backend has warm afterwards."""
    found: dict[str, None] = {}
    for node in graph.values():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        for value in inputs.values() if isinstance(inputs, dict) else ():
            if isinstance(value, str) and len(value) < 512 and _MODEL_FILE.search(value):
                found[value] = None
    return tuple(found)[:_MAX_MODELS]


def prefixed(output_prefix: str, original: str) -> str:
    """`original` inside the run's own folder; steps that would leave it are dropped."""
    parts = [part for part in re.split(r"[\\/]", original) if part not in ("", ".", "..")]
    return "/".join([output_prefix.strip("/"), *(parts or ["output"])])


def _place_output(node: Json, graft: Graft) -> None:
    inputs = node["inputs"]
    original = inputs.get(PREFIX_INPUT)
    own_folder = isinstance(original, str) and bool(graft.output_prefix)
    if own_folder:
        inputs[PREFIX_INPUT] = prefixed(graft.output_prefix, original)
    is_output = node.get("class_type") in graft.output_classes or isinstance(original, str)
    if graft.cache_salt and is_output and (graft.salt_all or not own_folder):
        inputs[SALT_INPUT] = graft.cache_salt


def _place_name(inputs: Json, wanted: ExecutionInput, name: str) -> None:
    """Names of inputs may themselves hold dots, so the whole path is tried first."""
    holder: Any = inputs
    steps = [wanted.path] if wanted.path in inputs or "." not in wanted.path else wanted.path.split(".")
    for step in steps[:-1]:
        holder = _step(holder, step)
        if holder is None:
            return
    last = steps[-1]
    if wanted.position is not None:
        listed = holder.get(last) if isinstance(holder, dict) else None
        listed = listed if isinstance(listed, list) else []
        listed.extend([""] * (wanted.position + 1 - len(listed)))
        listed[wanted.position] = name
        _set(holder, last, listed)
    else:
        _set(holder, last, name)


def _step(holder: Any, step: str) -> Any:
    if isinstance(holder, dict):
        return holder.get(step)
    if isinstance(holder, list) and step.isdecimal() and int(step) < len(holder):
        return holder[int(step)]
    return None


def _set(holder: Any, step: str, value: Any) -> None:
    if isinstance(holder, dict):
        holder[step] = value
    elif isinstance(holder, list) and step.isdecimal() and int(step) < len(holder):
        holder[int(step)] = value
