"""Placeholders are whole strings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.parameters import Placeholder, PlaceholderKind, parse_placeholder


@pytest.mark.parametrize(
    ("text", "placeholder"),
    [
        ("$text(prompt)", Placeholder(kind=PlaceholderKind.TEXT, name="prompt")),
        (
            "$text( prompt , a cat, (sitting) )",
            Placeholder(kind=PlaceholderKind.TEXT, name="prompt", default="a cat, (sitting)"),
        ),
        ("$text(prompt,)", Placeholder(kind=PlaceholderKind.TEXT, name="prompt", default="")),
        (
            "$choice(sampler, euler, ddim)",
            Placeholder(kind=PlaceholderKind.CHOICE, name="sampler", options=("euler", "ddim")),
        ),
        ("$file(input_image.png)", Placeholder(kind=PlaceholderKind.FILE, name="input_image.png")),
        ("$random()", Placeholder(kind=PlaceholderKind.RANDOM)),
        ("$timestamp()", Placeholder(kind=PlaceholderKind.TIMESTAMP)),
    ],
)
def test_the_five_forms_are_parsed(text: str, placeholder: Placeholder) -> None:
    assert parse_placeholder(text) == placeholder


@pytest.mark.parametrize(
    "text",
    [
        "prefix_$random()",
        "$random() ",
        " $random()",
        "$random(1)",
        "$text()",
        "$text(,x)",
        "$text(a(b))",
        "$choice(x)",
        "$choice(x,)",
        "$choice(x, a,, b)",
        "$file(a b)",
        "$file(a, b)",
        "$file(../x)",
        "$TEXT(a)",
        "$other(a)",
        "$text",
        "text(a)",
        "",
        "$",
    ],
)
def test_anything_else_is_plain_text(text: str) -> None:
    assert parse_placeholder(text) is None


def test_only_three_kinds_are_parameters() -> None:
    kinds = {
        p.kind
        for t in ("$text(a)", "$choice(a,b)", "$file(a)", "$random()")
        if (p := parse_placeholder(t)) and p.is_parameter
    }
    assert kinds == {PlaceholderKind.TEXT, PlaceholderKind.CHOICE, PlaceholderKind.FILE}


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    parse_placeholder(f"$text({text})")
    parse_placeholder(text)
