"""Frames of the socket, friendly and hostile."""

import json
import struct

from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.drivers.comfyui.frames import (
    MessageFrame,
    PictureFrame,
    StatusFrame,
    TextFrame,
    parse_binary,
    parse_text,
)


def test_status_tells_the_length_of_the_queue() -> None:
    text = json.dumps({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 3}}, "sid": "x"}})
    assert parse_text(text) == StatusFrame(3)


def test_message_names_its_prompt() -> None:
    frame = parse_text('{"type":"executing","data":{"node":null,"prompt_id":"p"}}')
    assert frame == MessageFrame("executing", "p", {"node": None, "prompt_id": "p"})


def test_greeting_of_a_reconnect_has_no_prompt() -> None:
    frame = parse_text('{"type":"executing","data":{"node":"10"}}')
    assert isinstance(frame, MessageFrame)
    assert frame.prompt_id == ""


def test_picture_without_metadata() -> None:
    assert parse_binary(struct.pack(">II", 1, 1) + b"jpeg") == PictureFrame("image/jpeg", b"jpeg")


def test_picture_with_metadata() -> None:
    metadata = json.dumps({"node_id": "3", "prompt_id": "p", "image_type": "image/png"}).encode()
    frame = parse_binary(struct.pack(">II", 4, len(metadata)) + metadata + b"png")
    assert frame == PictureFrame("image/png", b"png", "3", "p")


def test_text_of_a_node() -> None:
    assert parse_binary(struct.pack(">II", 3, 2) + b"12" + b"so far") == TextFrame("12", "so far")


@given(st.text())
def test_any_text_is_a_frame_or_nothing(text: str) -> None:
    parse_text(text)


@given(st.binary(max_size=200), st.sampled_from([1, 2, 3, 4, 7]))
def test_any_bytes_are_a_frame_or_nothing(data: bytes, event: int) -> None:
    parse_binary(data)
    parse_binary(struct.pack(">I", event) + data)


def test_deep_json_is_nothing() -> None:
    assert parse_text("[" * 100_000) is None
    assert parse_binary(struct.pack(">II", 4, 60_000) + b"[" * 60_000) is None
