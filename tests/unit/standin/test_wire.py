"""Bytes and rules of the wire."""

import json
import struct

import pytest
from PIL import Image

from services.standin.flac import silence
from services.standin.frame import (
    Preview,
    described_preview_frame,
    preview_frame,
    progress_text_frame,
    text_frame,
)
from services.standin.knobs import KnobBoard, Knobs, knobs_from, knobs_from_environment
from services.standin.model.failure import OutOfMemory, wire_type
from services.standin.origin import is_foreign

PICTURE = Image.new("RGB", (8, 8), (255, 0, 0))


def test_preview_frame_says_its_format() -> None:
    """1 is JPEG, 2 is PNG."""
    assert struct.unpack(">II", preview_frame(Preview(picture=PICTURE))[:8]) == (1, 1)
    frame = preview_frame(Preview(picture=PICTURE, format="PNG"))
    assert struct.unpack(">II", frame[:8]) == (1, 2)
    assert frame[8:12] == b"\x89PNG"


def test_described_preview_frame_carries_its_ids() -> None:
    """Length, JSON, picture."""
    frame = described_preview_frame(Preview(picture=PICTURE), {"node_id": "1"})
    event, length = struct.unpack(">II", frame[:8])
    assert event == 4
    assert json.loads(frame[8 : 8 + length]) == {"node_id": "1", "image_type": "image/jpeg"}
    assert frame[8 + length : 10 + length] == b"\xff\xd8"


def test_text_frame_of_progress_counts_bytes() -> None:
    """Ids may have letters of several bytes."""
    frame = progress_text_frame("nöde", "größe")
    assert struct.unpack(">II", frame[:8]) == (3, 5)
    assert frame[8:].decode() == "nödegröße"


def test_seeds_survive_text_frames() -> None:
    """64 bits, exactly."""
    assert json.loads(text_frame("x", {"seed": 2**64 - 1}))["data"]["seed"] == 2**64 - 1


@pytest.mark.parametrize(
    ("host", "origin", "foreign"),
    [
        ("127.0.0.1:8188", "http://evil.example", True),
        ("localhost:8188", "http://localhost:9999", True),
        ("127.0.0.1:8188", "http://127.0.0.1:8188", False),
        ("127.0.0.1:8188", "http://127.0.0.1", False),
        ("127.0.0.1:8188", "null", False),
        ("127.0.0.1:8188", None, False),
        ("backend.example:8188", "http://evil.example", False),
        ("[::1]:8188", "http://evil.example", True),
        ("127.0.0.1:99999999", "http://evil.example", False),
    ],
)
def test_origin_rule(host: str | None, origin: str | None, foreign: bool) -> None:
    """Pages of other hosts do not reach a server on loopback."""
    assert is_foreign(host, origin) is foreign


def test_failures_have_the_names_that_clients_know() -> None:
    """Builtins without their module; memory under the name that the original gives it."""
    assert wire_type(ValueError("x")) == "ValueError"
    assert wire_type(OutOfMemory("x")) == "torch.OutOfMemoryError"
    assert wire_type(json.JSONDecodeError("x", "", 0)) == "json.decoder.JSONDecodeError"


def test_silence_is_a_flac_stream_of_the_given_length() -> None:
    """Samples, rate and channels stand in the head."""
    content = silence(samples=10_000, sample_rate=8000, channels=2, comments={"prompt": "{}"})
    assert content.startswith(b"fLaC")
    packed = int.from_bytes(content[8 + 10 : 8 + 18], "big")
    assert packed >> 44 == 8000
    assert (packed >> 41 & 7) + 1 == 2
    assert packed & (1 << 36) - 1 == 10_000
    assert b"prompt={}" in content
    assert content.count(b"\xff\xf8") == 3


def test_knobs_are_read_by_type() -> None:
    """From texts and from JSON values."""
    environment = {"COMFYFLEET_STANDIN_STEP_SECONDS": "0.5", "COMFYFLEET_STANDIN_FAILING_CLASSES": "A,B"}
    knobs = knobs_from_environment(environment)
    assert knobs.step_seconds == 0.5
    assert knobs.failing_classes == frozenset({"A", "B"})
    assert knobs_from({"stall_frames": "on", "refuse_next_answers": "3"}, knobs).stall_frames is True
    assert knobs_from({"failing_classes": ["C"]}, knobs).failing_classes == frozenset({"C"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"no_such_knob": 1},
        {"step_seconds": -1},
        {"step_seconds": "nan"},
        {"step_seconds": True},
        {"stall_frames": "maybe"},
        {"refuse_next_answers": 1.5},
        {"refuse_next_answers": "many"},
        {"failing_classes": 3},
        {"die_at_class": 1},
    ],
)
def test_wrong_knobs_are_refused(wrong: dict[str, object]) -> None:
    """And turn nothing."""
    with pytest.raises(ValueError, match=r".+"):
        knobs_from(wrong, Knobs())


def test_counting_knobs_count_down_to_rest() -> None:
    """Each asks only so often."""
    board = KnobBoard(Knobs(refuse_next_answers=2))
    assert [board.count_down("refuse_next_answers") for _ in range(3)] == [2, 1, 0]
