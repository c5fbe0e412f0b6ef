"""The driver's parsers, held against everything that a real ComfyUI was recorded to say."""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.dispatcher.drivers.comfyui.frames import MessageFrame, PictureFrame, StatusFrame, parse_binary, parse_text
from services.dispatcher.drivers.comfyui.history import End, interpret
from services.dispatcher.drivers.comfyui.outputs import entries_of
from services.dispatcher.drivers.comfyui.queue import read_queue
from services.dispatcher.drivers.comfyui.refusal import ending_of_refusal
from services.dispatcher.model.ending import Outcome


@pytest.fixture
def lines() -> list[dict[str, Any]]:
    """All lines of all recordings."""
    folder = os.environ.get("COMFYUI_TRACES")
    if not folder:
        pytest.skip("COMFYUI_TRACES names no folder of recordings")
    return list(_lines(Path(folder)))


def test_every_text_frame_is_known(lines: list[dict[str, Any]]) -> None:
    frames = [line["json"] for line in lines if line["kind"] == "ws_frame" and "json" in line]
    assert frames
    for frame in frames:
        parsed = parse_text(json.dumps(frame))
        assert isinstance(parsed, StatusFrame if frame["type"] == "status" else MessageFrame), frame


def test_every_binary_frame_is_known(lines: list[dict[str, Any]]) -> None:
    frames = [line for line in lines if line["kind"] == "ws_frame" and "binary" in line and "base64" in line]
    assert frames
    for line in frames:
        parsed = parse_binary(base64.b64decode(line["base64"]))
        assert parsed is not None, line["binary"]
        if isinstance(parsed, PictureFrame):
            assert len(parsed.image) == line["binary"]["image_bytes"]


def test_every_history_entry_has_the_end_of_its_last_message(lines: list[dict[str, Any]]) -> None:
    entries = [entry for line in lines for entry in _answers(line, "/history").values()]
    assert entries
    for entry in entries:
        told = interpret(entry)
        last = entry["status"]["messages"][-1][0]
        assert told.end.value == last
        assert (told.failure is not None) == (told.end is End.ERROR)
        for node_id, ui in told.outputs.items():
            assert entries_of(node_id, ui)


def test_every_queue_is_read(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        answer = _answers(line, "/queue")
        if "queue_running" in answer:
            items = [*answer["queue_running"], *answer["queue_pending"]]
            reading = read_queue(answer, asked_at=0)
            assert reading.count == len(items)
            assert set(reading.items) == {item[1] for item in items}


def test_every_refusal_is_judged(lines: list[dict[str, Any]]) -> None:
    judged: dict[str, Outcome] = {}
    for line in lines:
        request = line.get("request", {})
        body = request.get("json")
        if line["kind"] != "http" or request.get("method") != "POST" or not request["path"].endswith("/prompt"):
            continue
        if line.get("response", {}).get("status") != 400 or not isinstance(body, dict):
            continue
        graph = body.get("prompt")
        ending = ending_of_refusal(
            400,
            line["response"]["json"],
            graph=graph if isinstance(graph, dict) else {},
            known_classes=frozenset({"EmptyImage", "SaveImage", "ImageInvert", "ImageScale", "KSampler"}),
        )
        judged[line.get("label", "")] = ending.outcome
    assert judged["unknown node class"] is Outcome.REJECTED_HERE
    assert judged["value not in list"] is Outcome.REJECTED_HERE
    assert judged["custom validation message"] is Outcome.REJECTED_HERE
    for label in ("missing class_type", "cycle", "value above max", "no output node", "bad link: node id absent"):
        assert judged[label] is Outcome.INVALID, label


def _lines(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.glob("*.jsonl")):
        for text in file.read_text().splitlines():
            yield json.loads(text)


def _answers(line: dict[str, Any], path: str) -> dict[str, Any]:
    """The JSON object that was answered under a path."""
    if line["kind"] != "http" or not line["request"]["path"].removeprefix("/api").startswith(path):
        return {}
    answer = line.get("response", {}).get("json")
    return answer if isinstance(answer, dict) else {}
