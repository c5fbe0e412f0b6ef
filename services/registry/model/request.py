"""What callers ask to be stored, and the rules of its texts."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.common.errors import Violation
from services.common.json_bytes import JsonValue, canonical_json
from services.common.parameters import OutputDefinition, Parameter
from services.registry.model.definition_json import output_to_json, parameter_to_json
from services.registry.model.slug import MAX_CHARACTERS, is_slug

MAX_TAGS = 64
MAX_TAG_CHARACTERS = 64
_CONTROL = re.compile("[\x00-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class NewWorkflow:
    """A workflow to be made."""

    slug: str
    """Empty: made from `display_name`."""
    display_name: str
    description: str
    tags: tuple[str, ...]
    graph: bytes
    parameters: tuple[Parameter, ...]
    outputs: tuple[OutputDefinition, ...]
    no_discovery: bool
    note: str
    request_id: str

    def hash(self) -> str:
        """Tells whether another request under the same id is the same."""
        return _hash(
            "create", self.slug, self.display_name, self.description, list(self.tags), _digest(self.graph),
            [parameter_to_json(p) for p in self.parameters], [output_to_json(o) for o in self.outputs],
            self.no_discovery, self.note,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class WorkflowChange:
    """A workflow to be changed; None: unchanged."""

    workflow: str
    """Reference."""
    display_name: str | None
    description: str | None
    tags: tuple[str, ...] | None
    graph: bytes | None
    parameters: tuple[Parameter, ...] | None
    outputs: tuple[OutputDefinition, ...] | None
    note: str
    expected_version: int | None
    request_id: str

    @property
    def changes_content(self) -> bool:
        """Whether it may add a version."""
        return self.graph is not None or self.parameters is not None or self.outputs is not None

    def hash(self) -> str:
        """Tells whether another request under the same id is the same."""
        return _hash(
            "update", self.workflow, self.display_name, self.description,
            None if self.tags is None else list(self.tags), None if self.graph is None else _digest(self.graph),
            None if self.parameters is None else [parameter_to_json(p) for p in self.parameters],
            None if self.outputs is None else [output_to_json(o) for o in self.outputs],
            self.note, self.expected_version,
        )  # fmt: skip


def check_new_workflow(request: NewWorkflow) -> Iterator[Violation]:
    """Everything wrong with the texts of a new workflow."""
    if request.slug and not is_slug(request.slug):
        message = f"Give lower-case letters, digits and single hyphens, up to {MAX_CHARACTERS}, and no reserved word."
        yield Violation("slug", "BAD_SLUG", message)
    yield from _check_texts(request.display_name, request.description, request.tags, request.note, request.request_id)


def check_change(change: WorkflowChange) -> Iterator[Violation]:
    """Everything wrong with the texts of a change."""
    name = "unchanged" if change.display_name is None else change.display_name
    yield from _check_texts(name, change.description or "", change.tags or (), change.note, change.request_id)


def check_text(field: str, text: str, *, least: int = 0, most: int, lines: bool = False) -> Iterator[Violation]:
    """The length of `text`, and that it can be stored; control characters only where it has `lines`."""
    if not least <= len(text) <= most:
        yield Violation(field, "BAD_LENGTH", f"Give {least} to {most} characters.")
    elif "\x00" in text if lines else _CONTROL.search(text):
        yield Violation(field, "BAD_STRING", "Give text without control characters.")


def _check_texts(
    display_name: str, description: str, tags: Sequence[str], note: str, request_id: str
) -> Iterator[Violation]:
    yield from check_text("display_name", display_name, least=1, most=200)
    yield from check_text("description", description, most=10_000, lines=True)
    if len(tags) > MAX_TAGS:
        yield Violation("tags", "TOO_MANY", f"Give at most {MAX_TAGS} tags.")
    for index, tag in enumerate(tags[:MAX_TAGS]):
        yield from check_text(f"tags[{index}]", tag, least=1, most=MAX_TAG_CHARACTERS)
    yield from check_text("note", note, most=1000, lines=True)
    yield from check_text("request_id", request_id, most=128)


def _digest(graph: bytes) -> str:
    return hashlib.sha256(graph).hexdigest()


def _hash(*parts: JsonValue) -> str:
    return hashlib.sha256(canonical_json(list(parts))).hexdigest()
