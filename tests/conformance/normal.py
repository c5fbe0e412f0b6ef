"""What may differ between a recording and a replay, rule by rule. Everything else has to be equal.

1. Ids that a server makes: prompt ids, the sid of a socket without clientId, names of temp files. Each recorded
   one must correspond to exactly one of ours (`Names`).
2. Times: `timestamp` must be milliseconds since 1970 on both sides.
3. Orders that the original leaves to hash seeds: `executed`, `current_outputs`, output ids of queue items, errors
   inside one node, dependent outputs.
4. Tracebacks: both empty, or both lists of texts.
5. Values that are no JSON, shown as text in `current_inputs`.
6. Words of failures inside nodes, and the tip after an out-of-memory error: both there, and line ends alike.
   LabError's own message, which the request chose, has to be equal.
7. Words that describe nodes: `tooltip`, `description`, `output_tooltips`. Choices of models: the stand-in has some.
8. `/system_stats`: names, types and structure only. Model lists: structure only.
9. Progress that a node reports by the clock (floats): how often is not compared, only that.
10. Pictures: equal pixels, but for the last bit, for what is lossless; size and format for others. Other media: format.
11. `Etag`, `Last-Modified`, sizes of files that a server wrote, `Transfer-Encoding`, `Date`.
12. Where a `status` stands among reports of progress: it is sent when some other request comes in.
13. What a socket sees of a node's work that it joins, or leaves, in the middle.
"""

import json
import re
from typing import Any

from tests.conformance.recording import is_item

Json = Any
TEMP_NAME = re.compile(r"ComfyUI_temp_[a-z]{5}_\d{5}_")
EXACT_FAILURES = frozenset({"LabError"})


class Names:
    """Which name of ours stands for which recorded one, both ways."""

    def __init__(self) -> None:
        self._ours: dict[str, str] = {}
        self._recorded: dict[str, str] = {}

    def learn(self, recorded: str, ours: str) -> None:
        """Two names that stand for the same; raises AssertionError if either is known to stand for another."""
        assert self._ours.setdefault(recorded, ours) == ours, f"{recorded} is both {self._ours[recorded]} and {ours}"
        assert self._recorded.setdefault(ours, recorded) == recorded, f"{ours} stands for two recorded names"

    def translate(self, text: str) -> str:
        """A recorded text with our names in it."""
        for recorded, ours in self._ours.items():
            text = text.replace(recorded, ours)
        return text

    def translate_json(self, value: Json) -> Json:
        """A recorded JSON value with our names in it."""
        return json.loads(self.translate(json.dumps(value, ensure_ascii=False)))

    def learn_from(self, recorded: Json, ours: Json) -> None:
        """Learns names of temp files from two values of the same form."""
        if isinstance(recorded, dict) and isinstance(ours, dict):
            for key in recorded.keys() & ours.keys():
                self.learn_from(recorded[key], ours[key])
        elif isinstance(recorded, list) and isinstance(ours, list):
            for left, right in zip(recorded, ours, strict=False):
                self.learn_from(left, right)
        elif isinstance(recorded, str) and isinstance(ours, str):
            left_name, right_name = TEMP_NAME.search(recorded), TEMP_NAME.search(ours)
            if left_name and right_name and left_name[0] not in self._recorded:
                self.learn(left_name[0], right_name[0])


def normal(value: Json) -> Json:
    """A JSON value in the form in which it is compared."""
    if isinstance(value, dict):
        plain = {key: _field(key, one) for key, one in value.items()}
        failed = "exception_message" in plain and "node_type" in plain
        if failed and plain["node_type"] not in EXACT_FAILURES:
            plain["exception_message"] = _shape(str(plain["exception_message"]))
            plain["exception_type"] = _kind(str(plain["exception_type"]), str(plain["node_type"]))
        elif failed:
            first, _, tip = str(plain["exception_message"]).partition("\n")
            plain["exception_message"] = (first, bool(tip))
        if plain.get("type") == "custom_validation_failed":
            plain["details"] = re.sub(r" - .*", " - <words>", str(plain["details"]))
        return plain
    if is_item(value):
        return [*(normal(one) for one in value[:4]), sorted(value[4])]
    if isinstance(value, list):
        return [normal(one) for one in value]
    if isinstance(value, float) and value != value:
        return "<nan>"
    return value


def _field(key: str, value: Json) -> Json:
    match key:
        case "timestamp":
            assert isinstance(value, int)
            assert value > 1_500_000_000_000
            return "<ms>"
        case "executed" | "current_outputs" | "dependent_outputs" if isinstance(value, list):
            return sorted(value)
        case "traceback":
            return ["<traceback>"] if value and all(isinstance(line, str) for line in value) else value
        case "current_inputs" if isinstance(value, dict):
            return {name: [_shown(one) for one in values] for name, values in value.items()}
        case "errors" if isinstance(value, list):
            return sorted((normal(one) for one in value), key=lambda one: (one["type"], one["details"]))
        case "tooltip" | "description":
            return "<words>"
        case "output_tooltips":
            return ["<words>" for _ in value]
    return normal(value)


def _shown(value: Json) -> Json:
    is_picture = isinstance(value, str) and value.startswith(("tensor(", "(<PIL."))
    return "<picture>" if is_picture else normal(value)


def _shape(message: str) -> str:
    start = "Execution Blocked: " if message.startswith("Execution Blocked: ") else ""
    end = "\n" if message.endswith("\n") else ""
    return f"{start}<words>{end}"


def _kind(name: str, node_type: str) -> str:
    """The type of a failure; inside nodes of the original it depends on its libraries."""
    is_test_node = node_type.startswith(("Test", "Lab"))
    return name if is_test_node or name in {"ExecutionBlocked", "graph.DependencyCycleError"} else "<type>"


def types_only(value: Json) -> Json:
    """The structure of a value: names and types."""
    if isinstance(value, dict):
        return {key: types_only(one) for key, one in value.items()}
    if isinstance(value, list):
        return [types_only(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def settled(frames: list[Json]) -> list[Json]:
    """Frames without what depends on the moment (rules 9, 12 and 13)."""
    return _statuses_first(_without_missed(_without_clock(frames)))


def _type(frame: Json) -> str:
    return str((frame.get("json") or {}).get("type", "binary" if "binary" in frame else ""))


def is_report(frame: Json) -> bool:
    """Whether a frame reports progress."""
    return _type(frame) in ("progress", "progress_state", "binary")


def _statuses_first(frames: list[Json]) -> list[Json]:
    """Rule 12: among reports of progress, the place of a status depends on when another request came in."""
    ordered: list[Json] = []
    stretch: list[Json] = []
    for frame in [*frames, {}]:
        if _type(frame) in ("status", "progress", "progress_state", "binary"):
            stretch.append(frame)
            continue
        ordered += sorted(stretch, key=lambda one: _type(one) != "status")
        stretch = []
        ordered.append(frame)
    return ordered[:-1]


def _without_missed(frames: list[Json]) -> list[Json]:
    """Rule 13: a socket that joins a node's work sees what is left of it."""
    kept: list[Json] = []
    joined = False
    for frame in frames:
        data = (frame.get("json") or {}).get("data", {})
        if _type(frame) == "executing" and "prompt_id" not in data:
            joined = True
        elif joined and _type(frame) in ("progress", "progress_state", "binary"):
            continue
        else:
            joined = joined and _type(frame) == "status"
        kept.append(frame)
    return kept


def _without_clock(frames: list[Json]) -> list[Json]:
    kept: list[Json] = []
    for frame in frames:
        content = frame.get("json") or {}
        if content.get("type") == "progress" and isinstance(content["data"]["value"], float):
            if kept and (kept[-1].get("json") or {}).get("type") == "progress_state":
                kept.pop()
            continue
        kept.append(frame)
    return [_clockless(frame) for frame in kept]


def _clockless(frame: Json) -> Json:
    content = frame.get("json") or {}
    if content.get("type") != "progress_state":
        return frame
    nodes = {
        name: {**node, "value": "<clock>", "max": "<clock>"} if _by_clock(node) else node
        for name, node in content["data"]["nodes"].items()
    }
    return {"json": {**content, "data": {**content["data"], "nodes": nodes}}}


def _by_clock(node: Json) -> bool:
    return node["state"] == "running" and isinstance(node["value"], float)
