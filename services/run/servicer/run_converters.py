"""Runs and their events as messages, and requests as commands."""

from datetime import datetime, timedelta

from comfyfleet.run.v1 import run_event_pb2, run_pb2, run_service_pb2

from services.common.errors import InvalidArgument, Violation
from services.run.model.error import RunError
from services.run.model.event import EventType, LoggedEvent
from services.run.model.new_run import NewRun
from services.run.model.progress import RunPreview, RunProgress
from services.run.model.run import DEFAULT_RUNTIME, RunSnapshot, TagMatch
from services.run.model.state import RunState
from services.run.service.watching import Occurrence, Sight
from services.run.servicer.times import span_to_proto, time_to_proto

_STATES = {state: run_pb2.RunState.Value(f"RUN_STATE_{state.value}") for state in RunState}
_TAG_MATCHES = {
    TagMatch.ALL: run_pb2.TAG_MATCH_ALL,
    TagMatch.ALL_OR_UNTAGGED: run_pb2.TAG_MATCH_ALL_OR_UNTAGGED,
}
_FAILED = frozenset({RunState.FAILED, RunState.CANCELLED, RunState.TIMED_OUT, RunState.INVALID})
DEFAULT_ORIGIN = "grpc"


def run_to_proto(snapshot: RunSnapshot) -> run_pb2.Run:
    """The run; FULL where the snapshot has its spec."""
    run = snapshot.run
    message = run_pb2.Run(
        id=run.id,
        team_id=run.team_id,
        workflow_id=run.workflow_id or "",
        workflow_version=run.workflow_version,
        workflow_slug=run.workflow_slug,
        state=_STATES[run.state],
        sequence=run.sequence,
        attempt=run.attempt,
        cancel_requested=run.cancel_requested,
        display_name=run.display_name,
        labels=run.labels,
        metadata_json=run.metadata_json,
        client_ref=run.client_ref,
        group=run.group_name,
        priority=run.priority,
        origin=run.origin,
        runtime=run.runtime,
        tags=run.tags,
        tag_match=_TAG_MATCHES[run.tag_match],
        create_time=time_to_proto(run.create_time),
        dispatch_time=time_to_proto(run.dispatched_at),
        start_time=time_to_proto(run.started_at),
        end_time=time_to_proto(run.finished_at),
        expire_time=time_to_proto(run.expire_time),
        queue_deadline=time_to_proto(run.queue_deadline),
        timeout=span_to_proto(run.timeout),
        max_attempts=run.max_attempts,
        blamed_attempts=run.blamed_attempts,
        retry_on_lost=run.retry_on_lost,
        delete_inputs_at_end=run.delete_inputs_at_end,
        runner_id=run.runner_id or "",
        error=None if run.error is None else error_to_proto(run.error),
        progress=None if snapshot.progress is None else progress_to_proto(snapshot.progress),
        input_file_ids=run.input_file_ids,
        request_id=run.request_id,
        public_url=run.public_url,
    )
    outputs = [run_pb2.RunOutput(**output.to_json()) for output in snapshot.outputs]
    (message.partial_outputs if run.state in _FAILED else message.outputs).extend(outputs)
    if snapshot.spec is not None:
        message.graph_json = snapshot.spec.graph_json
        message.parameters_json = snapshot.spec.parameters_json
        message.overrides_json = snapshot.spec.overrides_json
    return message


def error_to_proto(error: RunError) -> run_pb2.RunError:
    """Why a run did not succeed."""
    return run_pb2.RunError(**error.to_json())


def progress_to_proto(progress: RunProgress) -> run_pb2.RunProgress:
    """How far an execution is."""
    return run_pb2.RunProgress(**(progress.to_json() | {"elapsed": progress.elapsed}))


def sight_to_proto(sight: Sight, *, run_id: str, now: datetime) -> run_event_pb2.RunEvent:
    """What a watcher sees, as one message of its stream."""
    if isinstance(sight, Occurrence):
        return _occurrence_to_proto(sight)
    message = run_event_pb2.RunEvent(run_id=run_id, time=time_to_proto(now))
    if isinstance(sight, RunSnapshot):
        message.sequence = sight.run.sequence
        message.snapshot.CopyFrom(run_to_proto(sight))
    elif isinstance(sight, RunProgress):
        message.progress.CopyFrom(progress_to_proto(sight))
    else:
        message.preview.CopyFrom(_preview_to_proto(sight))
    return message


def new_run_from_proto(request: run_service_pb2.CreateRunRequest) -> NewRun:
    """The command of a request; InvalidArgument where a duration cannot be read."""
    violations: list[Violation] = []

    def span(field: str) -> timedelta | None:
        if not request.HasField(field):  # type: ignore[arg-type]  # the names below
            return None
        try:
            value: timedelta = getattr(request, field).ToTimedelta()
        except (ValueError, OverflowError):
            violations.append(Violation(field, "OUT_OF_RANGE", "Give a duration of at most 366 days."))
            return None
        return value

    queue_ttl, timeout = span("queue_ttl"), span("timeout")
    if violations:
        raise InvalidArgument(violations=violations)
    untagged = request.tag_match == run_pb2.TAG_MATCH_ALL_OR_UNTAGGED
    return NewRun(
        workflow=request.workflow,
        graph_json=request.graph_json if request.WhichOneof("source") == "graph_json" else None,
        parameters_json=request.parameters_json,
        parameters_text={key: tuple(texts.values) for key, texts in request.parameters_text.items()},
        overrides_json=request.overrides_json,
        extra_data_json=request.extra_data_json,
        metadata_json=request.metadata_json,
        request_id=request.request_id,
        refuse_duplicate=request.on_duplicate == run_service_pb2.ON_DUPLICATE_REJECT,
        display_name=request.display_name,
        labels=dict(request.labels),
        client_ref=request.client_ref,
        group_name=request.group,
        priority=request.priority,
        origin=request.origin or DEFAULT_ORIGIN,
        runtime=request.runtime or DEFAULT_RUNTIME,
        tags=tuple(request.tags),
        tag_match=TagMatch.ALL_OR_UNTAGGED if untagged else TagMatch.ALL,
        queue_ttl=queue_ttl,
        queue_ttl_unlimited=request.queue_ttl_unlimited,
        timeout=timeout,
        max_attempts=request.max_attempts,
        require_runner=request.require_runner,
        retry_on_lost=request.retry_on_lost if request.HasField("retry_on_lost") else True,
        delete_inputs_at_end=request.delete_inputs_at_end,
        public_url=request.public_url,
    )


def _occurrence_to_proto(occurrence: Occurrence) -> run_event_pb2.RunEvent:
    event = occurrence.event
    message = run_event_pb2.RunEvent(run_id=event.run_id, sequence=event.sequence, time=time_to_proto(event.at))
    match event.type:
        case EventType.STATE_CHANGED:
            message.state_changed.CopyFrom(_state_change(event, occurrence.ended))
        case EventType.ATTEMPT_STARTED:
            message.attempt_started.attempt = event.attempt
            message.attempt_started.runner_id = event.body["runner_id"]
        case EventType.OUTPUT_ADDED:
            message.output_added.CopyFrom(run_pb2.RunOutput(**event.body))
        case EventType.CANCEL_REQUESTED:
            message.cancel_requested.SetInParent()
    return message


def _state_change(event: LoggedEvent, ended: RunSnapshot | None) -> run_event_pb2.RunStateChange:
    previous, error = event.body["previous_state"], event.body.get("error")
    return run_event_pb2.RunStateChange(
        state=_STATES[RunState(event.body["state"])],
        previous_state=_STATES[RunState(previous)] if previous else run_pb2.RUN_STATE_UNSPECIFIED,
        attempt=event.attempt,
        error=run_pb2.RunError(**error) if error else None,
        run=None if ended is None else run_to_proto(ended),
    )


def _preview_to_proto(preview: RunPreview) -> run_event_pb2.RunPreview:
    return run_event_pb2.RunPreview(
        attempt=preview.attempt,
        node_id=preview.node_id,
        media_type=preview.media_type,
        image=preview.image,
        number=preview.number,
    )
