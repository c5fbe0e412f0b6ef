"""A run request in JSON as the contract's message; used by JSON bodies and by the `_run` part of forms."""

from collections.abc import Callable, Mapping

from comfyfleet.run.v1 import run_pb2, run_service_pb2

from gateway.fields import INT32, Fields
from gateway.problems import HttpError
from gateway.query import one_request_id
from services.common.json_bytes import JsonValue

MAX_MESSAGE_BYTES = 15 * 1024 * 1024
"""The rooms take messages of 16 MiB."""

_TAG_MATCHES = {"all": run_pb2.TAG_MATCH_ALL, "all_or_untagged": run_pb2.TAG_MATCH_ALL_OR_UNTAGGED}
_ON_DUPLICATE = {
    "replay": run_service_pb2.ON_DUPLICATE_REPLAY,
    "reject": run_service_pb2.ON_DUPLICATE_REJECT,
}

_Read = Callable[[Fields, run_service_pb2.CreateRunRequest, str], None]


def run_request(
    body: Mapping[str, JsonValue], *, workflow: str | None, key: str, base: str
) -> run_service_pb2.CreateRunRequest:
    """The message for `body`; InvalidArgument with every violation.

    `workflow`: the reference in the route, None where the body must name workflow or graph. `key`: the
    Idempotency-Key, empty for none. `base`: where the caller reached us.
    """
    fields = Fields(body)
    made = run_service_pb2.CreateRunRequest(origin="rest", public_url=base, request_id=one_request_id(fields, key))
    _source(fields, made, workflow)
    for name in body:
        if (read := _READERS.get(name)) is not None:
            read(fields, made, name)
    fields.done()
    if made.ByteSize() > MAX_MESSAGE_BYTES:
        raise HttpError(413, f"The request is larger than {MAX_MESSAGE_BYTES} bytes.", reason="BODY_TOO_LARGE")
    return made


def _source(fields: Fields, made: run_service_pb2.CreateRunRequest, workflow: str | None) -> None:
    given, graph = fields.text("workflow"), fields.json("graph")
    if workflow is not None:
        made.workflow = workflow
        for name in ("workflow", "graph"):
            if fields.has(name):
                fields.refuse(name, "CONFLICT", "The route names the workflow; leave it out.")
    elif given is not None and graph is not None:
        fields.refuse("graph", "CONFLICT", "Send either workflow or graph.")
    elif given is not None:
        made.workflow = given
    elif graph is not None:
        made.graph_json = graph
    elif not fields.violations:
        fields.refuse("workflow", "REQUIRED", "Send the reference of a workflow, or a graph.")


def _text(fields: Fields, made: run_service_pb2.CreateRunRequest, name: str) -> None:
    setattr(made, name, fields.text(name) or "")


def _object(fields: Fields, made: run_service_pb2.CreateRunRequest, name: str) -> None:
    setattr(made, f"{name}_json", fields.object(name) or b"")


def _flag(fields: Fields, made: run_service_pb2.CreateRunRequest, name: str) -> None:
    if (value := fields.boolean(name)) is not None:
        setattr(made, name, value)


def _number(least: int) -> _Read:
    def read(fields: Fields, made: run_service_pb2.CreateRunRequest, name: str) -> None:
        setattr(made, name, fields.integer(name, (least, INT32[1])) or 0)

    return read


def _choice(words: Mapping[str, int]) -> _Read:
    def read(fields: Fields, made: run_service_pb2.CreateRunRequest, name: str) -> None:
        setattr(made, name, fields.choice(name, words) or 0)

    return read


def _duration(fields: Fields, made: run_service_pb2.CreateRunRequest, name: str) -> None:
    if (duration := fields.duration(name)) is not None:
        getattr(made, name).CopyFrom(duration)


def _labels(fields: Fields, made: run_service_pb2.CreateRunRequest, name: str) -> None:
    made.labels.update(fields.string_map(name) or {})


def _tags(fields: Fields, made: run_service_pb2.CreateRunRequest, name: str) -> None:
    made.tags.extend(fields.strings(name) or ())


_READERS: Mapping[str, _Read] = {
    "parameters": _object,
    "overrides": _object,
    "extra_data": _object,
    "metadata": _object,
    "display_name": _text,
    "client_ref": _text,
    "group": _text,
    "runtime": _text,
    "labels": _labels,
    "tags": _tags,
    "on_duplicate": _choice(_ON_DUPLICATE),
    "tag_match": _choice(_TAG_MATCHES),
    "priority": _number(INT32[0]),
    "max_attempts": _number(1),
    "queue_ttl_unlimited": _flag,
    "require_runner": _flag,
    "delete_inputs_at_end": _flag,
    "previews": _flag,
    "retry_on_lost": _flag,
    "progress": _flag,
    "queue_ttl": _duration,
    "timeout": _duration,
}
"""Fields that mean the same whatever else is there; most requests have few of them."""
