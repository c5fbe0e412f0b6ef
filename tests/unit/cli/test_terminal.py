"""What others named may not steer the terminal it is shown on."""

import pytest

from services.cli.terminal import visible


@pytest.mark.parametrize("steering", ["\x1b", "\r", "\n", "\x07", "\x9b", "\u202e", "\ud800"])
def test_characters_that_steer_a_terminal_become_visible(steering: str) -> None:
    assert visible(f"a{steering}b") == "a\ufffdb"


@pytest.mark.parametrize("text", ["plain", "[red]x[/red]", "Größe 猫", "👩‍🚀"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text
