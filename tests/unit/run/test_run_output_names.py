"""Outputs get names that are unique and fit a URL."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.run.model.output import output_name


def name(file_name: str, *taken: str, node_id: str = "9", keys: dict[str, str] | None = None) -> str:
    return output_name(keys=keys or {}, node_id=node_id, file_name=file_name, taken=taken)


def test_definition_gives_the_name_and_else_the_file_does() -> None:
    assert name("ComfyUI_00001_.png", keys={"9": "picture"}) == "picture"
    assert name("ComfyUI_00001_.png", keys={"7": "picture"}) == "ComfyUI_00001_.png"


def test_repeats_are_numbered_before_the_extension() -> None:
    assert name("a.png", "a.png") == "a-2.png"
    assert name("a.png", "a.png", "a-2.png") == "a-3.png"
    assert name("x", "picture", "picture-2", keys={"9": "picture"}) == "picture-3"
    assert name("v1.0", "v1.0", keys={"9": "v1.0"}) == "v1.0-2"


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [("", "output"), ("a/b\\c.png", "a_b_c.png"), ("..", "_"), (".", "_"), (".hidden", ".hidden"), ("a\nb", "a_b")],
)
def test_names_fit_one_step_of_a_path(file_name: str, expected: str) -> None:
    assert name(file_name) == expected


@given(st.lists(st.sampled_from(["a.png", "a-2.png", "a", "b.png", ".."]), max_size=12))
def test_names_of_an_attempt_are_unique(file_names: list[str]) -> None:
    taken: list[str] = []
    for file_name in file_names:
        taken.append(name(file_name, *taken))
    assert len(set(taken)) == len(file_names)
