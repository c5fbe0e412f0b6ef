"""Runs and their events as JSON."""

from base64 import b64encode
from typing import Any

from comfyfleet.run.v1 import run_event_pb2, run_pb2

from gateway.json_answer import duration_text, opaque, time_text, word
from gateway.links import file_url, run_url

_STATES: dict[int, str] = {number: name.removeprefix("RUN_STATE_") for name, number in run_pb2.RunState.items()}
TERMINAL = frozenset(
    {
        run_pb2.RUN_STATE_SUCCEEDED,
        run_pb2.RUN_STATE_FAILED,
        run_pb2.RUN_STATE_CANCELLED,
        run_pb2.RUN_STATE_TIMED_OUT,
        run_pb2.RUN_STATE_INVALID,
    }
)


def run_json(run: run_pb2.Run, *, base: str, full: bool = False) -> dict[str, Any]:
    """A run. Absent values are null; graph, parameters and overrides are there only in the full view."""
    body: dict[str, Any] = {
        "id": run.id,
        "state": _state(run.state),
        "workflow_id": run.workflow_id or None,
        "workflow_version": run.workflow_version or None,
        "workflow_slug": run.workflow_slug or None,
        "sequence": run.sequence,
        "attempt": run.attempt,
        "cancel_requested": run.cancel_requested,
        "outputs": [output_json(output, base=base) for output in run.outputs],
        "partial_outputs": [output_json(output, base=base) for output in run.partial_outputs],
        "error": error_json(run.error) if run.HasField("error") else None,
        "progress": progress_json(run.progress) if run.HasField("progress") else None,
        "create_time": time_text(run, "create_time"),
        "dispatch_time": time_text(run, "dispatch_time"),
        "start_time": time_text(run, "start_time"),
        "end_time": time_text(run, "end_time"),
        "expire_time": time_text(run, "expire_time"),
        "queue_deadline": time_text(run, "queue_deadline"),
        "timeout": duration_text(run, "timeout"),
        **_said_by_the_caller(run),
        "blamed_attempts": run.blamed_attempts,
        "team_id": run.team_id,
        "runner_id": run.runner_id or None,
        "input_file_ids": list(run.input_file_ids),
        "links": _links(run, base),
    }
    if full:
        body["graph"] = opaque(run.graph_json)
        body["parameters"] = opaque(run.parameters_json)
        body["overrides"] = opaque(run.overrides_json)
    return body


def _said_by_the_caller(run: run_pb2.Run) -> dict[str, Any]:
    return {
        "display_name": run.display_name or None,
        "labels": dict(run.labels),
        "metadata": opaque(run.metadata_json),
        "client_ref": run.client_ref or None,
        "group": run.group or None,
        "priority": run.priority,
        "origin": run.origin or None,
        "runtime": run.runtime or None,
        "tags": list(run.tags),
        "tag_match": word(run_pb2.TagMatch, run.tag_match, "TAG_MATCH_"),
        "max_attempts": run.max_attempts,
        "retry_on_lost": run.retry_on_lost,
        "delete_inputs_at_end": run.delete_inputs_at_end,
        "request_id": run.request_id or None,
    }


def _links(run: run_pb2.Run, base: str) -> dict[str, str]:
    url = run_url(base, run.id)
    return {"self": url, "events": f"{url}/events", "cancel": f"{url}:cancel"}


def output_json(output: run_pb2.RunOutput, *, base: str) -> dict[str, Any]:
    """One output; `url` opens with the key that made the run."""
    return {
        "ordinal": output.ordinal,
        "name": output.name,
        "node_id": output.node_id,
        "key": output.key,
        "position": output.position,
        "file_id": output.file_id,
        "sha256": output.sha256,
        "size_bytes": output.size_bytes,
        "media_type": output.media_type,
        "file_name": output.file_name,
        "kind": output.kind or None,
        "cached": output.cached,
        "attempt": output.attempt,
        "url": file_url(base, output.file_id),
    }


def error_json(error: run_pb2.RunError) -> dict[str, Any]:
    """Why a run did not succeed."""
    return {
        "code": error.code,
        "message": error.message,
        "node_id": error.node_id or None,
        "node_class": error.node_class or None,
        "exception_type": error.exception_type or None,
        "traceback": list(error.traceback),
        "retryable": error.retryable,
    }


def progress_json(progress: run_pb2.RunProgress) -> dict[str, Any]:
    """How far an execution is."""
    return {
        "attempt": progress.attempt,
        "fraction": progress.fraction,
        "node_id": progress.node_id or None,
        "node_class": progress.node_class or None,
        "node_value": progress.node_value,
        "node_maximum": progress.node_maximum,
        "nodes_done": progress.nodes_done,
        "nodes_total": progress.nodes_total,
        "text": progress.text or None,
        "elapsed": duration_text(progress, "elapsed"),
    }


def event_json(event: run_event_pb2.RunEvent, *, base: str) -> tuple[str, dict[str, Any]]:
    """The name of an event and its JSON: what every event has, and one field of its own."""
    kind = event.WhichOneof("event") or "unknown"
    body: dict[str, Any] = {"run_id": event.run_id, "sequence": event.sequence, "time": time_text(event, "time")}
    match kind:
        case "snapshot":
            body["run"] = run_json(event.snapshot, base=base)
        case "state_changed":
            body.update(_state_change_json(event.state_changed, base))
        case "attempt_started":
            body["attempt"] = event.attempt_started.attempt
            body["runner_id"] = event.attempt_started.runner_id or None
        case "output_added":
            body["output"] = output_json(event.output_added, base=base)
        case "progress":
            body["progress"] = progress_json(event.progress)
        case "preview":
            body["preview"] = _preview_json(event.preview)
    return kind, body


def ends(event: run_event_pb2.RunEvent) -> bool:
    """Whether nothing more is to come after `event`."""
    if event.HasField("snapshot"):
        return event.snapshot.state in TERMINAL
    return event.HasField("state_changed") and event.state_changed.state in TERMINAL


def _state_change_json(change: run_event_pb2.RunStateChange, base: str) -> dict[str, Any]:
    return {
        "state": _state(change.state),
        "previous_state": _state(change.previous_state),
        "attempt": change.attempt,
        "error": error_json(change.error) if change.HasField("error") else None,
        "run": run_json(change.run, base=base) if change.HasField("run") else None,
    }


def _preview_json(preview: run_event_pb2.RunPreview) -> dict[str, Any]:
    return {
        "attempt": preview.attempt,
        "node_id": preview.node_id or None,
        "media_type": preview.media_type,
        "number": preview.number,
        "image_base64": b64encode(preview.image).decode(),
    }


def _state(number: int) -> str | None:
    return _STATES.get(number) if number else None
