"""Slugs and references."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidArgument
from services.registry.model.reference import WorkflowReference, parse_reference
from services.registry.model.slug import is_slug, slug_of

ID = "01920000-0000-7000-8000-000000000001"


@pytest.mark.parametrize("text", ["a", "0", "text-to-image", "v2-1", "x" * 63, "demo"])
def test_slugs(text: str) -> None:
    assert is_slug(text)


@pytest.mark.parametrize(
    "text", ["", "-a", "a-", "a--b", "A", "a_b", "ä", "a b", "a/b", "a@1", "x" * 64, "runs", ID, "a\n"]
)
def test_no_slugs(text: str) -> None:
    assert not is_slug(text)


@given(st.text())
def test_a_made_slug_is_one_or_empty(name: str) -> None:
    slug = slug_of(name)
    assert slug == "" or is_slug(slug)


def test_slugs_are_readable() -> None:
    assert slug_of("  Text → Image (v2) ") == "text-image-v2"
    assert slug_of("Crème brûlée") == "creme-brulee"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        (ID, WorkflowReference(id=ID)),
        (ID.upper(), WorkflowReference(id=ID)),
        (f"{ID}@7", WorkflowReference(id=ID, version=7)),
        ("cat", WorkflowReference(slug="cat")),
        ("cat@12", WorkflowReference(slug="cat", version=12)),
        ("red-team/cat@1", WorkflowReference(slug="cat", team="red-team", version=1)),
        (f"{ID}/cat", WorkflowReference(slug="cat", team=ID)),
    ],
)
def test_references(text: str, reference: WorkflowReference) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    "text",
    ["", "@1", "cat@", "cat@0", "cat@-1", "cat@latest", "cat@1@2", "cat@9999999999", "Cat", "a/b/c", "/cat", "cat/",
     "c\x00t", "x" * 300, "cat@١"],
)  # fmt: skip
def test_no_references(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_reference(text)


def test_a_version_is_refused_where_none_is_taken() -> None:
    with pytest.raises(InvalidArgument):
        parse_reference("cat@1", versioned=False)
