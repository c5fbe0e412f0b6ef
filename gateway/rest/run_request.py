"""A run request in JSON as the contract's message; used by JSON bodies and by the `_run` part of forms."""

from collections.abc import Mapping

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
    made.parameters_json = fields.object("parameters") or b""
    made.overrides_json = fields.object("overrides") or b""
    made.extra_data_json = fields.object("extra_data") or b""
    made.metadata_json = fields.object("metadata") or b""
    _texts(fields, made)
    _policies(fields, made)
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


def _texts(fields: Fields, made: run_service_pb2.CreateRunRequest) -> None:
    made.display_name = fields.text("display_name") or ""
    made.client_ref = fields.text("client_ref") or ""
    made.group = fields.text("group") or ""
    made.runtime = fields.text("runtime") or ""
    made.labels.update(fields.string_map("labels") or {})
    made.tags.extend(fields.strings("tags") or ())


def _policies(fields: Fields, made: run_service_pb2.CreateRunRequest) -> None:
    made.on_duplicate = fields.choice("on_duplicate", _ON_DUPLICATE) or run_service_pb2.ON_DUPLICATE_UNSPECIFIED
    made.tag_match = fields.choice("tag_match", _TAG_MATCHES) or run_pb2.TAG_MATCH_UNSPECIFIED
    made.priority = fields.integer("priority", INT32) or 0
    made.max_attempts = fields.integer("max_attempts", (1, INT32[1])) or 0
    made.queue_ttl_unlimited = fields.boolean("queue_ttl_unlimited") or False
    made.require_runner = fields.boolean("require_runner") or False
    made.delete_inputs_at_end = fields.boolean("delete_inputs_at_end") or False
    made.previews = fields.boolean("previews") or False
    for name in ("retry_on_lost", "progress"):
        if (value := fields.boolean(name)) is not None:
            setattr(made, name, value)
    for name in ("queue_ttl", "timeout"):
        if (duration := fields.duration(name)) is not None:
            getattr(made, name).CopyFrom(duration)
