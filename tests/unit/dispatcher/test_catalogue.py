"""Node catalogues: one form, whatever a node pack writes."""

import hashlib
import json

import pytest

from services.dispatcher.drivers.comfyui.catalogue import read_catalogue


def test_catalogue_is_canonical_and_hashed() -> None:
    one = read_catalogue(b'{"B": {"output_node": true}, "A": {}}')
    two = read_catalogue(b'{"A":{},"B":{"output_node":true}}')
    assert one.hash == two.hash == hashlib.sha256(one.content).hexdigest()
    assert one.classes == {"A", "B"}
    assert one.output_classes == {"B"}


def test_bounds_that_json_does_not_have_become_what_it_has() -> None:
    text = b'{"A": {"min": -Infinity, "max": 1e999, "seed": 18446744073709551615, "low": -18446744073709551615}}'
    node = json.loads(read_catalogue(text).content)["A"]
    assert node["min"] is None
    assert node["max"] is None
    assert node["seed"] == 2**64 - 1
    assert node["low"] == -float(2**64 - 1)


def test_texts_are_storable() -> None:
    content = read_catalogue(b'{"A": {"x": "\\ud800 \\u0000"}}').content
    assert json.loads(content)["A"]["x"] == "? "


def test_what_is_no_object_is_no_catalogue() -> None:
    for text in (b"[]", b"1", b"{", b"\xff"):
        with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
            read_catalogue(text)
