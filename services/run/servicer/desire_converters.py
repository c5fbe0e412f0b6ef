"""What a dispatcher should have, as DesiredState."""

from dataclasses import dataclass
from datetime import timedelta

from comfyfleet.run.v1 import run_queue_pb2, runner_pb2

from services.run.model.desire import Action, DesiredExecution, DesiredState, ExecutionSpec
from services.run.model.run import RunInput
from services.run.model.runner import Runner, RunnerHealth, RunnerScope
from services.run.servicer.times import span_to_proto, time_to_proto

_ACTIONS = {action: run_queue_pb2.Action.Value(f"ACTION_{action.value}") for action in Action}
_SCOPES = {scope: runner_pb2.RunnerScope.Value(f"RUNNER_SCOPE_{scope.value}") for scope in RunnerScope}
_HEALTH = {
    RunnerHealth.UNKNOWN: runner_pb2.RUNNER_HEALTH_UNSPECIFIED,
    RunnerHealth.HEALTHY: runner_pb2.RUNNER_HEALTH_HEALTHY,
    RunnerHealth.UNHEALTHY: runner_pb2.RUNNER_HEALTH_UNHEALTHY,
    RunnerHealth.OFFLINE: runner_pb2.RUNNER_HEALTH_OFFLINE,
}


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What every DesiredState says the same."""

    lease: timedelta
    heartbeat: timedelta
    fleet_id: str
    file_endpoint: str
    """Empty: the address of the stream."""
    max_message_bytes: int


def desired_to_proto(desired: DesiredState, terms: Terms) -> run_queue_pb2.DesiredState:
    """The message."""
    return run_queue_pb2.DesiredState(
        version=desired.version,
        lease=span_to_proto(terms.lease),
        heartbeat=span_to_proto(terms.heartbeat),
        runners=[
            run_queue_pb2.DesiredRunner(
                runner_id=one.runner_id,
                local_key=one.local_key,
                epoch=one.epoch,
                enabled=one.enabled,
                drain=one.draining,
            )
            for one in desired.runners
        ],
        executions=[_execution(one) for one in desired.executions],
        wanted_catalogues=desired.wanted_catalogues,
        file_endpoint=terms.file_endpoint,
        max_message_bytes=terms.max_message_bytes,
        fleet_id=terms.fleet_id,
    )


def runner_to_proto(runner: Runner) -> runner_pb2.Runner:
    """A runner as callers see it."""
    return runner_pb2.Runner(
        id=runner.id,
        team_id=runner.team_id or "",
        scope=_SCOPES[runner.scope],
        local_key=runner.local_key,
        dispatcher_id=runner.dispatcher_name,
        runtime=runner.runtime,
        tags=runner.tags,
        region=runner.region,
        health=_HEALTH[runner.health],
        health_reason=runner.health_reason,
        enabled=runner.enabled,
        draining=runner.draining,
        catalogue_hash=runner.capabilities_hash,
        devices=[
            runner_pb2.Device(
                name=one.name,
                type=one.type,
                memory_total_bytes=one.memory_total_bytes,
                memory_free_bytes=one.memory_free_bytes,
            )
            for one in runner.devices
        ],
        run_ids=runner.run_ids,
        last_seen_time=time_to_proto(runner.last_seen_at),
        create_time=time_to_proto(runner.create_time),
        backend_version=runner.backend_version,
        foreign_prompts=runner.foreign_prompts,
    )


def _execution(one: DesiredExecution) -> run_queue_pb2.DesiredExecution:
    return run_queue_pb2.DesiredExecution(
        run_id=one.held.run_id,
        attempt=one.held.attempt,
        runner_id=one.held.runner_id,
        epoch=one.held.epoch,
        action=_ACTIONS[one.action],
        order=one.order,
        submitted=one.held.submitted,
        preview=one.preview,
        outputs_acknowledged=one.held.outputs_count,
        timeout_left=span_to_proto(one.timeout_left),
        file_token=one.token.text,
        file_token_left=span_to_proto(one.token_left),
        spec=None if one.spec is None else _spec(one.spec),
    )


def _spec(spec: ExecutionSpec) -> run_queue_pb2.ExecutionSpec:
    return run_queue_pb2.ExecutionSpec(
        prompt_id=spec.prompt_id,
        graph_json=spec.graph_json,
        extra_data_json=spec.extra_data_json,
        inputs=[_input(one) for one in spec.inputs],
        output_prefix=spec.output_prefix,
        cache_salt=spec.cache_salt,
        max_output_bytes=spec.max_output_bytes,
        warm_key=spec.warm_key,
    )


def _input(one: RunInput) -> run_queue_pb2.ExecutionInput:
    return run_queue_pb2.ExecutionInput(
        node_id=one.node_id,
        path=one.path,
        file_id=one.file_id,
        sha256=one.sha256,
        size_bytes=one.size_bytes,
        file_name=one.file_name,
        mask=one.mask,
        position=one.position,
    )
