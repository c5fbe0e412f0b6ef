"""CurrentState, as dispatchers send it, to what the room knows it as; hostile or malformed messages are refused."""

import math
from collections.abc import Sequence
from datetime import timedelta

from comfyfleet.run.v1 import run_pb2, run_queue_pb2, runner_pb2
from google.protobuf.duration_pb2 import Duration

from services.common.errors import InvalidArgument, Violation
from services.run.model.error import RunError
from services.run.model.progress import RunPreview, RunProgress
from services.run.model.report import (
    ExecutionReport,
    Finish,
    Outcome,
    OutputReport,
    Phase,
    RunnerReport,
    StateReport,
)
from services.run.model.runner import Device, RunnerHealth

MAX_RUNNERS = 1000
MAX_TRACEBACK_BYTES = 64 * 1024
LONGEST = timedelta(days=3660)

_HEALTH = {
    runner_pb2.RUNNER_HEALTH_UNSPECIFIED: RunnerHealth.UNKNOWN,
    runner_pb2.RUNNER_HEALTH_HEALTHY: RunnerHealth.HEALTHY,
    runner_pb2.RUNNER_HEALTH_UNHEALTHY: RunnerHealth.UNHEALTHY,
    runner_pb2.RUNNER_HEALTH_OFFLINE: RunnerHealth.OFFLINE,
}
_OUTCOMES = {
    run_queue_pb2.Outcome.Value(f"OUTCOME_{outcome.value}"): outcome
    for outcome in Outcome
    if outcome is not Outcome.LAPSED
}


def state_from_proto(message: run_queue_pb2.CurrentState) -> StateReport:
    """The report of a message. InvalidArgument with every violation of its head and its runners."""
    wrong = [
        Violation(name, "BAD_STRING", f"Give 1 to {most} characters, without NUL.")
        for name, text, most in (
            ("dispatcher_id", message.dispatcher_id, 128),
            ("session_id", message.session_id, 128),
            *((f"runners[{at}].local_key", one.local_key, 200) for at, one in enumerate(message.runners)),
        )
        if not 1 <= len(text) <= most or "\x00" in text
    ]
    if len(message.runners) > MAX_RUNNERS:
        wrong.append(Violation("runners", "TOO_MANY", f"Give at most {MAX_RUNNERS} runners."))
    if len({one.local_key for one in message.runners}) != len(message.runners):
        wrong.append(Violation("runners", "DUPLICATE_KEY", "Give each runner a local_key of its own."))
    if wrong:
        raise InvalidArgument(violations=wrong)
    return StateReport(
        dispatcher_id=message.dispatcher_id,
        session_id=message.session_id,
        message_number=message.message_number,
        applied_version=message.applied_version,
        software=_text(message.software, 200),
        features=frozenset(message.features),
        draining=message.draining,
        runners=tuple(_runner(one) for one in message.runners),
        executions=tuple(_execution(one) for one in message.executions),
    )


def preview_from_proto(frame: run_queue_pb2.PreviewFrame) -> RunPreview:
    """The picture of a frame."""
    return RunPreview(
        attempt=frame.attempt,
        node_id=frame.node_id,
        media_type=frame.media_type,
        image=frame.image,
        number=frame.number,
    )


def _runner(message: run_queue_pb2.RunnerState) -> RunnerReport:
    return RunnerReport(
        local_key=message.local_key,
        runner_id=message.runner_id,
        epoch=message.epoch,
        runtime=_text(message.runtime, 63) or "comfyui",
        tags=tuple(sorted({_text(tag, 63) for tag in message.tags})),
        region=_text(message.region, 63),
        community=message.community,
        health=_HEALTH.get(message.health, RunnerHealth.UNKNOWN),
        health_reason=_text(message.health_reason, 1000),
        recovered=message.recovered,
        backend_incarnation=_text(message.backend_incarnation, 200),
        backend_version=_text(message.backend_version, 200),
        capabilities_hash=_text(message.capabilities_hash, 64),
        devices=tuple(
            Device(
                name=_text(one.name, 200),
                type=_text(one.type, 63),
                memory_total_bytes=one.memory_total_bytes,
                memory_free_bytes=one.memory_free_bytes,
            )
            for one in message.devices[:64]
        ),
        execution_slots=message.execution_slots,
        ahead_slots=message.ahead_slots,
        foreign_prompts=max(message.foreign_prompts, 0),
        reaping_prompt_ids=tuple(_text(one, 100) for one in message.reaping_prompt_ids[:64]),
        warm_keys=tuple(_text(one, 200) for one in message.warm_keys[:64]),
    )


def _execution(message: run_queue_pb2.ExecutionState) -> ExecutionReport:
    phase = message.WhichOneof("phase")
    running = message.running if phase == "running" else None
    return ExecutionReport(
        run_id=message.run_id,
        attempt=message.attempt,
        runner_id=message.runner_id,
        epoch=message.epoch,
        phase=_PHASES.get(phase or "", Phase.STAGING),
        observed_age=_span(message.observed_age),
        outputs_count=message.outputs_count,
        outputs=_outputs(message.outputs),
        submitted=phase == "running" or (phase == "waiting" and message.waiting.submitted),
        elapsed=timedelta() if running is None else _span(running.elapsed),
        progress=(
            _progress(running.progress, message.attempt)
            if running is not None and running.HasField("progress")
            else None
        ),
        finish=_finish(message.finished) if phase == "finished" else None,
        orphan=message.orphan,
    )


_PHASES = {"staging": Phase.STAGING, "waiting": Phase.WAITING, "running": Phase.RUNNING, "finished": Phase.FINISHED}


def _outputs(messages: Sequence[run_queue_pb2.Output]) -> tuple[OutputReport, ...]:
    places: set[tuple[str, str, int]] = set()
    for one in messages:
        place = one.node_id, one.key, one.position
        if place in places:
            message = "Give each place (node_id, key, position) once."
            raise InvalidArgument(violations=[Violation("executions.outputs", "DUPLICATE_OUTPUT", message)])
        places.add(place)
    return tuple(
        OutputReport(
            ordinal=one.ordinal,
            node_id=_text(one.node_id, 200),
            key=_text(one.key, 200),
            position=one.position,
            file_id=_text(one.file_id, 64),
            sha256=_text(one.sha256, 64),
            size_bytes=one.size_bytes,
            media_type=_text(one.media_type, 200),
            file_name=_text(one.file_name, 400),
            kind=_text(one.kind, 20),
            cached=one.cached,
        )
        for one in messages
    )


def _finish(message: run_queue_pb2.Finished) -> Finish:
    outcome = _OUTCOMES.get(message.outcome)
    if outcome is None:
        wrong = Violation("executions.finished.outcome", "UNKNOWN_OUTCOME", "Say how the execution ended.")
        raise InvalidArgument(violations=[wrong])
    return Finish(
        outcome=outcome,
        error=_error(message.error) if message.HasField("error") else None,
        execution=_span(message.execution),
        missing_capabilities=tuple(_text(one, 400) for one in message.missing_capabilities[:200]),
    )


def _error(message: run_pb2.RunError) -> RunError:
    traceback: list[str] = []
    left = MAX_TRACEBACK_BYTES
    for line in message.traceback:
        text = _text(line, 4000)
        left -= len(text.encode())
        if left < 0:
            break
        traceback.append(text)
    return RunError(
        code=_text(message.code, 100) or "UNKNOWN",
        message=_text(message.message, 4000),
        node_id=_text(message.node_id, 200),
        node_class=_text(message.node_class, 200),
        traceback=tuple(traceback),
        retryable=message.retryable,
        exception_type=_text(message.exception_type, 400),
    )


def _progress(message: run_pb2.RunProgress, attempt: int) -> RunProgress:
    return RunProgress(
        attempt=attempt,
        fraction=min(max(_number(message.fraction), 0.0), 1.0),
        node_id=_text(message.node_id, 200),
        node_class=_text(message.node_class, 200),
        node_value=_number(message.node_value),
        node_maximum=_number(message.node_maximum),
        nodes_done=message.nodes_done,
        nodes_total=message.nodes_total,
        text=_text(message.text, 4000),
        elapsed=_span(message.elapsed),
    )


def _number(value: float) -> float:
    """A number that JSON can hold: neither NaN nor infinite."""
    return value if math.isfinite(value) else 0.0


def _text(text: str, most: int) -> str:
    """What a database can keep of a backend's text."""
    return text.replace("\x00", "")[:most]


def _span(message: Duration) -> timedelta:
    """A duration within reason; negative ones are zero."""
    seconds = min(max(message.seconds, 0), int(LONGEST.total_seconds()))
    return timedelta(seconds=seconds, microseconds=max(message.nanos, 0) // 1000)
