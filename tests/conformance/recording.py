"""The recordings, as they lie in the directory that COMFYUI_TRACES names."""

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = Any


def traces() -> Path | None:
    """The directory of recordings, if there is one."""
    named = os.environ.get("COMFYUI_TRACES")
    folder = Path(named) if named else None
    return folder if folder is not None and folder.is_dir() else None


@dataclass(frozen=True)
class Event:
    """One line of a recording."""

    kind: str
    content: dict[str, Json]

    @property
    def client(self) -> str:
        """The recorder's name of the connection."""
        return str(self.content["client"])


@dataclass(frozen=True)
class Recording:
    """One scenario."""

    name: str
    events: tuple[Event, ...]

    def posted_before_first_number(self) -> int:
        """The number that the server's counter stood at when the scenario began."""
        counted = 0
        for event in self.events:
            if event.kind != "http" or event.content["request"]["method"] != "POST":
                continue
            request, response = event.content["request"], event.content.get("response") or {}
            if request["path"].removeprefix("/api") != "/prompt":
                continue
            body = request.get("json")
            if isinstance(body, dict) and "number" in body:
                continue
            if response.get("status") == 200:
                return abs(int(response["json"]["number"])) - counted
            counted += _counts(request)
        return 0

    def output_orders(self) -> dict[str, list[str]]:
        """The order in which the recorded server took the outputs of each prompt; it depends on its process."""
        return {canonical(item[2]): item[4] for event in self.events for item in _items(event.content.get("response"))}


def _counts(request: dict[str, Json]) -> bool:
    if "json" in request:
        return isinstance(request["json"], dict | list)
    try:
        return isinstance(json.loads(request.get("raw_body") or ""), dict | list)
    except ValueError:
        return False


def _items(value: Json) -> Iterator[list[Json]]:
    """Every queue item anywhere in an answer."""
    if isinstance(value, list):
        if is_item(value):
            yield value
        for one in value:
            yield from _items(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _items(one)


def is_item(value: Json) -> bool:
    """Whether a list is `[number, prompt id, prompt, extra_data, output ids]`."""
    return (
        isinstance(value, list)
        and len(value) == 5
        and isinstance(value[1], str)
        and isinstance(value[2], dict)
        and isinstance(value[3], dict)
        and isinstance(value[4], list)
    )


def canonical(value: Json) -> str:
    """A text that equal JSON values share."""
    return json.dumps(value, sort_keys=True)


def load(path: Path) -> Recording:
    """Reads one scenario."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return Recording(path.stem, tuple(Event(line["kind"], line) for line in lines))


def bytes_of(entry: dict[str, Json]) -> bytes | None:
    """The bytes that a recorded body or part had, if they were kept."""
    return base64.b64decode(entry["base64"]) if "base64" in entry else None
