"""The form of secrets."""

import pytest

from services.access.model.secret import new_secret, secret_of


def test_a_secret_is_read_back_and_hides_itself() -> None:
    made = new_secret("sk-")
    read = secret_of(made.text)
    assert read == made
    assert read is not None
    assert read.matches(made.digest)
    assert made.text.startswith(f"{made.prefix}_")
    assert made.text not in repr(made)


def test_secrets_have_256_bits_and_never_repeat() -> None:
    made = {new_secret("ak-").text for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(text.partition("_")[2]) == 43 for text in made)


@pytest.mark.parametrize(
    "text", ["", "sk-", "sk-0123456789abcdef", "sk-0123456789abcdef_", "sk-012345_x", "0123456789abcdef_x", "sk-0_0_0"]
)
def test_other_texts_are_no_secrets(text: str) -> None:
    assert secret_of(text) is None
