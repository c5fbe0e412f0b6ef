"""What makes two requests the same under one `request_id` (EXECUTION C6)."""

from contextlib import suppress
from hashlib import sha256

from services.common.json_bytes import InvalidJson, JsonValue, canonical_json, parse_json
from services.run.model.new_run import NewRun
from services.run.service.documents import PARTNER_KEYS, Documents

_AS_GIVEN = (
    "workflow",
    "display_name",
    "client_ref",
    "group_name",
    "priority",
    "runtime",
    "queue_ttl_unlimited",
    "max_attempts",
    "require_runner",
    "retry_on_lost",
    "delete_inputs_at_end",
)


def request_hash(new: NewRun, documents: Documents) -> bytes:
    """The hash of what is asked for, however it is spelt; secrets, door and address aside."""
    canonical: dict[str, JsonValue] = {name: getattr(new, name) for name in _AS_GIVEN}
    canonical |= {
        "labels": dict(new.labels),
        "graph": _graph_hash(new.graph_json),
        "parameters": documents.parameters,
        "parameters_text": {key: list(texts) for key, texts in new.parameters_text.items()},
        "overrides": documents.overrides,
        "extra_data": {key: value for key, value in documents.extra_data.items() if key not in PARTNER_KEYS},
        "metadata": documents.metadata,
        "tags": list(new.tags),
        "tag_match": new.tag_match.value,
        "queue_ttl": str(new.queue_ttl),
        "timeout": str(new.timeout),
    }
    return sha256(canonical_json(canonical)).digest()


def _graph_hash(graph_json: bytes | None) -> str | None:
    if graph_json is None:
        return None
    with suppress(InvalidJson):  # it is refused elsewhere; the bytes as they came will do
        graph_json = canonical_json(parse_json(graph_json, max_bytes=len(graph_json)))
    return sha256(graph_json).hexdigest()
