"""Between the messages of RunQueueService and the room's model."""

from datetime import timedelta

from comfyfleet.run.v1 import run_pb2, run_queue_pb2, runner_pb2
from google.protobuf.duration_pb2 import Duration

from services.dispatcher.model.desired import (
    Action,
    Desired,
    DesiredExecution,
    DesiredRunner,
    Endpoint,
    ExecutionInput,
    ExecutionKey,
    ExecutionSpec,
)
from services.dispatcher.model.ending import Ending, Failure
from services.dispatcher.model.execution import ExecutionReport, Finished, Preview, Running, Staging, Waiting
from services.dispatcher.model.output import Output
from services.dispatcher.model.progress import Progress
from services.dispatcher.model.runner import Device, RunnerReport
from services.dispatcher.service.runner import AHEAD_SLOTS

_ACTIONS = {
    run_queue_pb2.ACTION_RUN: Action.RUN,
    run_queue_pb2.ACTION_STAGE: Action.STAGE,
    run_queue_pb2.ACTION_CANCEL: Action.CANCEL,
    run_queue_pb2.ACTION_RECALL: Action.RECALL,
}


# -------------------------------------------------------------------- desired
def desired_from_proto(message: run_queue_pb2.DesiredState) -> Desired:
    """What should be."""
    return Desired(
        version=message.version,
        runners=tuple(_runner_from_proto(runner) for runner in message.runners),
        executions=tuple(_execution_from_proto(execution) for execution in message.executions),
        wanted_catalogues=tuple(message.wanted_catalogues),
        drain=message.drain,
        heartbeat=message.heartbeat.ToTimedelta() if message.HasField("heartbeat") else None,
        lease=message.lease.ToTimedelta() if message.HasField("lease") else None,
        file_endpoint=message.file_endpoint,
        fleet_id=message.fleet_id,
    )


def _runner_from_proto(message: run_queue_pb2.DesiredRunner) -> DesiredRunner:
    endpoint = None
    if message.HasField("endpoint"):
        endpoint = Endpoint(url=message.endpoint.url, headers=dict(message.endpoint.headers))
    return DesiredRunner(
        runner_id=message.runner_id,
        local_key=message.local_key,
        epoch=message.epoch,
        enabled=message.enabled,
        drain=message.drain,
        endpoint=endpoint,
    )


def _execution_from_proto(message: run_queue_pb2.DesiredExecution) -> DesiredExecution:
    return DesiredExecution(
        key=ExecutionKey(run_id=message.run_id, attempt=message.attempt),
        runner_id=message.runner_id,
        epoch=message.epoch,
        action=_ACTIONS.get(message.action, Action.NONE),
        order=message.order,
        submitted=message.submitted,
        preview=message.preview,
        outputs_acknowledged=max(0, message.outputs_acknowledged),
        timeout_left=message.timeout_left.ToTimedelta() if message.HasField("timeout_left") else None,
        file_token=message.file_token,
        spec=_spec_from_proto(message.spec) if message.HasField("spec") else None,
    )


def _spec_from_proto(message: run_queue_pb2.ExecutionSpec) -> ExecutionSpec:
    return ExecutionSpec(
        prompt_id=message.prompt_id,
        graph_json=message.graph_json,
        extra_data_json=message.extra_data_json,
        inputs=tuple(_input_from_proto(item) for item in message.inputs),
        output_prefix=message.output_prefix,
        cache_salt=message.cache_salt,
        max_output_bytes=message.max_output_bytes,
        secrets={secret.name: secret.value for secret in message.secrets},
        warm_key=message.warm_key,
    )


def _input_from_proto(message: run_queue_pb2.ExecutionInput) -> ExecutionInput:
    return ExecutionInput(
        node_id=message.node_id,
        path=message.path,
        file_id=message.file_id,
        sha256=message.sha256,
        size_bytes=message.size_bytes,
        file_name=message.file_name,
        mask=message.mask,
        position=message.position if message.HasField("position") else None,
    )


# -------------------------------------------------------------------- current
def runner_to_proto(
    report: RunnerReport, *, tags: tuple[str, ...], region: str, community: bool
) -> run_queue_pb2.RunnerState:
    """One backend."""
    state = report.state
    return run_queue_pb2.RunnerState(
        runner_id=report.runner_id,
        local_key=report.local_key,
        epoch=report.epoch,
        runtime=report.runtime,
        tags=tags,
        region=region,
        community=community,
        health=runner_pb2.RunnerHealth.Value(f"RUNNER_HEALTH_{state.health.value}"),
        health_reason=state.health_reason,
        recovered=state.recovered,
        backend_incarnation=state.incarnation,
        observed_age=duration_to_proto(state.observed_age),
        capabilities_hash=state.capabilities_hash,
        devices=[_device_to_proto(device) for device in state.devices],
        execution_slots=1,
        ahead_slots=AHEAD_SLOTS,
        foreign_prompts=state.foreign_prompts,
        reaping_prompt_ids=state.reaping,
        warm_keys=report.warm_keys,
        backend_version=state.version,
    )


def _device_to_proto(device: Device) -> runner_pb2.Device:
    return runner_pb2.Device(
        name=device.name,
        type=device.type,
        memory_total_bytes=device.memory_total_bytes,
        memory_free_bytes=device.memory_free_bytes,
    )


def execution_to_proto(report: ExecutionReport) -> run_queue_pb2.ExecutionState:
    """One execution."""
    message = run_queue_pb2.ExecutionState(
        run_id=report.key.run_id,
        attempt=report.key.attempt,
        runner_id=report.runner_id,
        epoch=report.epoch,
        observed_age=duration_to_proto(report.observed_age),
        staged_bytes=report.staged_bytes,
        stage_total_bytes=report.stage_total_bytes,
        outputs_count=report.outputs_count,
        outputs=[_output_to_proto(output) for output in report.outputs],
        orphan=report.orphan,
    )
    match report.phase:
        case Staging():
            message.staging.SetInParent()
        case Waiting(submitted=submitted):
            message.waiting.submitted = submitted
            message.waiting.SetInParent()
        case Running() as running:
            message.running.CopyFrom(_running_to_proto(running, report.key.attempt))
        case Finished(ending=ending):
            message.finished.CopyFrom(_ending_to_proto(ending))
    return message


def _running_to_proto(running: Running, attempt: int) -> run_queue_pb2.Running:
    message = run_queue_pb2.Running(elapsed=duration_to_proto(running.elapsed), backend_started=running.backend_started)
    if running.progress is not None:
        message.progress.CopyFrom(_progress_to_proto(running.progress, attempt))
    return message


def _progress_to_proto(progress: Progress, attempt: int) -> run_pb2.RunProgress:
    return run_pb2.RunProgress(
        attempt=attempt,
        fraction=progress.fraction,
        node_id=progress.node_id,
        node_class=progress.node_class,
        node_value=progress.node_value,
        node_maximum=progress.node_maximum,
        nodes_done=progress.nodes_done,
        nodes_total=progress.nodes_total,
        text=progress.text,
        elapsed=duration_to_proto(progress.elapsed),
    )


def _ending_to_proto(ending: Ending) -> run_queue_pb2.Finished:
    message = run_queue_pb2.Finished(
        outcome=run_queue_pb2.Outcome.Value(f"OUTCOME_{ending.outcome.value}"),
        execution=duration_to_proto(ending.execution),
        node_timings=[
            run_queue_pb2.NodeTiming(node_id=timing.node_id, duration=duration_to_proto(timing.duration))
            for timing in ending.node_timings
        ],
        cached_nodes=ending.cached_nodes,
        missing_capabilities=ending.missing_capabilities,
    )
    if ending.failure is not None:
        message.error.CopyFrom(_failure_to_proto(ending.failure))
    return message


def _failure_to_proto(failure: Failure) -> run_pb2.RunError:
    return run_pb2.RunError(
        code=failure.code,
        message=failure.message,
        node_id=failure.node_id,
        node_class=failure.node_class,
        traceback=failure.traceback,
        retryable=failure.retryable,
        exception_type=failure.exception_type,
    )


def _output_to_proto(output: Output) -> run_queue_pb2.Output:
    return run_queue_pb2.Output(
        ordinal=output.ordinal,
        node_id=output.place.node_id,
        key=output.place.key,
        position=output.place.position,
        file_id=output.file.file_id,
        sha256=output.file.sha256,
        size_bytes=output.file.size_bytes,
        media_type=output.file.media_type,
        file_name=output.file_name,
        kind=output.kind,
        cached=output.cached,
    )


def preview_to_proto(preview: Preview) -> run_queue_pb2.PreviewFrame:
    """One picture."""
    return run_queue_pb2.PreviewFrame(
        run_id=preview.key.run_id,
        attempt=preview.key.attempt,
        node_id=preview.node_id,
        media_type=preview.media_type,
        image=preview.image,
        number=preview.number,
    )


def duration_to_proto(value: timedelta) -> Duration:
    """A duration."""
    made = Duration()
    made.FromTimedelta(value)
    return made
