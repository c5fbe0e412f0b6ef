"""What a node put out."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.drivers.comfyui.outputs import (
    MAX_PER_NODE,
    BackendFile,
    PlainValue,
    TooManyOutputs,
    bounded_name,
    entries_of,
    media_type_of,
)
from tests.unit.dispatcher.hostile import JSON


def test_files_are_found_under_any_key() -> None:
    file = {"filename": "a.mp4", "subfolder": "video", "type": "output", "format": "video/h264-mp4"}
    (entry,) = entries_of("7", {"gifs": [file]})
    assert isinstance(entry, BackendFile)
    assert (entry.filename, entry.subfolder, entry.type) == ("a.mp4", "video", "output")
    assert (entry.place.node_id, entry.place.key, entry.place.position) == ("7", "gifs", 0)


def test_flag_beside_pictures_is_no_output() -> None:
    file = {"filename": "a.webp", "subfolder": "", "type": "output"}
    assert len(entries_of("7", {"images": [file], "animated": [True]})) == 1


def test_texts_and_values_stand_for_themselves() -> None:
    entries = entries_of("8", {"text": ["abc"], "numbers": [1, 2.5], "one": {"a": 1}})
    assert all(isinstance(entry, PlainValue) for entry in entries)
    told = [(entry.kind, entry.content) for entry in entries if isinstance(entry, PlainValue)]
    assert told == [("text", b"abc"), ("value", b"1"), ("value", b"2.5"), ("value", b'{"a": 1}')]


def test_too_many_are_refused() -> None:
    with pytest.raises(TooManyOutputs):
        entries_of("8", {"text": ["x"] * (MAX_PER_NODE + 1)})


@given(st.text(), st.dictionaries(st.text(), JSON, max_size=4))
def test_any_ui_object_is_read(node_id: str, ui: dict[str, Any]) -> None:
    for entry in entries_of(node_id, ui):
        assert len(entry.file_name.encode()) <= 255
        assert "\x00" not in entry.file_name


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=400))
def test_names_are_bounded(name: str) -> None:
    assert 0 < len(bounded_name(name).encode()) <= 255


def test_long_name_keeps_its_extension() -> None:
    assert bounded_name("x" * 400 + ".png").endswith(".png")


def test_media_type_is_the_backends_unless_it_says_nothing() -> None:
    assert media_type_of("a.png", "image/png; charset=x") == "image/png"
    assert media_type_of("a.flac", "application/octet-stream").startswith("audio/")
    assert media_type_of("a.latent", "application/octet-stream") == "application/octet-stream"
