"""A run as it is asked for, and what is wrong with its plain fields."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from services.common.errors import Violation
from services.run.model.run import DEFAULT_RUNTIME, TagMatch

LONGEST = timedelta(days=366)
MOST_LABELS = MOST_TAGS = 64
_LABEL_KEY = re.compile(r"[^\x00-\x20\"'\\]{1,63}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Policies:
    """What a run is given that does not say."""

    queue_ttl: timedelta = timedelta(hours=24)
    timeout: timedelta = timedelta(hours=1)
    max_attempts: int = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRun:
    """What a caller asks for; JSON still as it was sent."""

    workflow: str = ""
    """Reference of a workflow; empty: `graph_json` is given."""
    graph_json: bytes | None = None
    parameters_json: bytes = b""
    parameters_text: Mapping[str, Sequence[str]] = field(default_factory=dict)
    overrides_json: bytes = b""
    extra_data_json: bytes = b""
    metadata_json: bytes = b""
    request_id: str = ""
    refuse_duplicate: bool = False
    display_name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    client_ref: str = ""
    group_name: str = ""
    priority: int = 0
    origin: str = "grpc"
    runtime: str = DEFAULT_RUNTIME
    tags: tuple[str, ...] = ()
    tag_match: TagMatch = TagMatch.ALL
    queue_ttl: timedelta | None = None
    """None: the default, unless `queue_ttl_unlimited`."""
    queue_ttl_unlimited: bool = False
    timeout: timedelta | None = None
    max_attempts: int = 0
    """0: the default."""
    require_runner: bool = False
    retry_on_lost: bool = True
    delete_inputs_at_end: bool = False
    public_url: str = ""


def plain_violations(new: NewRun) -> Iterator[Violation]:
    """What is wrong with the fields that need no workflow to be judged, the JSON ones aside."""
    if not new.workflow and new.graph_json is None:
        yield Violation("workflow", "MISSING_SOURCE", "Give a workflow or a graph.")
    texts = (
        ("request_id", new.request_id, 128),
        ("display_name", new.display_name, 200),
        ("client_ref", new.client_ref, 200),
        ("group", new.group_name, 200),
        ("origin", new.origin, 63),
        ("runtime", new.runtime, 63),
        ("public_url", new.public_url, 2000),
        *((f"tags[{index}]", tag, 63) for index, tag in enumerate(new.tags[:MOST_TAGS])),
    )
    for name, text, most in texts:
        if len(text) > most or "\x00" in text:
            yield Violation(name, "BAD_STRING", f"Give at most {most} characters, without NUL.")
    if len(new.tags) > MOST_TAGS:
        yield Violation("tags", "TOO_MANY", f"Give at most {MOST_TAGS} tags.")
    yield from _label_violations(new.labels)
    if not -100 <= new.priority <= 100:
        yield Violation("priority", "OUT_OF_RANGE", "Give -100 to 100.")
    if not 0 <= new.max_attempts <= 10:
        yield Violation("max_attempts", "OUT_OF_RANGE", "Give 1 to 10, or nothing.")
    if new.queue_ttl_unlimited and new.queue_ttl is not None:
        yield Violation("queue_ttl", "GIVEN_TWICE", "Give a time to wait or queue_ttl_unlimited, not both.")
    for name, span in (("queue_ttl", new.queue_ttl), ("timeout", new.timeout)):
        if span is not None and not timedelta() < span <= LONGEST:
            yield Violation(name, "OUT_OF_RANGE", f"Give more than nothing and at most {LONGEST.days} days.")


def _label_violations(labels: Mapping[str, str]) -> Iterator[Violation]:
    if len(labels) > MOST_LABELS:
        yield Violation("labels", "TOO_MANY", f"Give at most {MOST_LABELS} labels.")
        return
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            message = "Give keys of 1 to 63 characters, without spaces, quotes and backslashes."
            yield Violation(f"labels.{key[:63]}".replace("\x00", ""), "BAD_LABEL", message)
        elif len(value) > 63 or "\x00" in value:
            yield Violation(f"labels.{key}", "BAD_LABEL", "Give at most 63 characters, without NUL.")
