"""DispatcherService: what a person beside the machine may look at, with the dispatcher's own secret."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
from comfyfleet.dispatcher.v1 import dispatcher_pb2, dispatcher_pb2_grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from services.common.clock import Clock
from services.common.errors import InvalidArgument, NotFound, Violation
from services.common.rpc.rule import agent_only, service_rules
from services.dispatcher.model.execution import Preview
from services.dispatcher.model.runner import Health, RunnerReport
from services.dispatcher.service.reconciler import Reconciler
from services.dispatcher.service.status import Status
from services.dispatcher.service.watching import RawMessage, Watchers

RULES = service_rules(
    "comfyfleet.dispatcher.v1.DispatcherService",
    {"GetStatus": agent_only(), "ListBackends": agent_only(), "WatchExecution": agent_only(endless=True)},
)
_LONGEST_PAGE = 1000
_LOOK_SECONDS = 0.5

_Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What the door reads from."""

    reconciler: Reconciler
    watchers: Watchers
    status: Status
    clock: Clock


class DispatcherServicer(dispatcher_pb2_grpc.DispatcherServiceServicer):
    """See the contract."""

    def __init__(self, *, sources: Sources) -> None:
        self._reconciler = sources.reconciler
        self._watchers = sources.watchers
        self._status = sources.status
        self._clock = sources.clock

    async def GetStatus(
        self,
        request: dispatcher_pb2.GetStatusRequest,  # noqa: ARG002 # the contract's
        context: _Context,  # noqa: ARG002
    ) -> dispatcher_pb2.GetStatusResponse:
        report, status = self._reconciler.report(), self._status
        answer = dispatcher_pb2.GetStatusResponse(
            dispatcher_id=status.dispatcher_id,
            session_id=status.session_id,
            software=status.software,
            connected=status.connected,
            run_endpoint=status.run_endpoint,
            applied_version=report.applied_version,
            backend_count=len(report.runners),
            execution_count=len(report.executions),
            draining=report.draining,
        )
        if status.last_desired_time is not None:
            answer.last_desired_time.FromDatetime(status.last_desired_time)
        return answer

    async def ListBackends(
        self,
        request: dispatcher_pb2.ListBackendsRequest,
        context: _Context,  # noqa: ARG002 # gRPC's
    ) -> dispatcher_pb2.ListBackendsResponse:
        runners = sorted(self._reconciler.report().runners, key=lambda runner: runner.local_key)
        start = _start(request.page_token)
        size = min(request.page_size, _LONGEST_PAGE) if request.page_size > 0 else _LONGEST_PAGE
        page = runners[start : start + size]
        run_ids: dict[str, list[str]] = {}
        for execution in self._reconciler.report().executions:
            run_ids.setdefault(execution.runner_id, []).append(execution.key.run_id)
        more = start + size < len(runners)
        return dispatcher_pb2.ListBackendsResponse(
            backends=[_backend_to_proto(runner, run_ids.get(runner.runner_id, [])) for runner in page],
            next_page_token=str(start + size) if more else "",
        )

    async def WatchExecution(
        self,
        request: dispatcher_pb2.WatchExecutionRequest,
        context: _Context,  # noqa: ARG002 # gRPC's
    ) -> AsyncIterator[dispatcher_pb2.WatchExecutionResponse]:
        if not self._reconciler.has_run(request.run_id):
            raise NotFound("This dispatcher has no execution of that run.", reason="EXECUTION_NOT_FOUND")
        with self._watchers.watching(request.run_id, previews=request.previews) as watch:
            while True:
                try:
                    async with asyncio.timeout(_LOOK_SECONDS):
                        message = await watch.next()
                except TimeoutError:
                    if self._reconciler.is_finished(request.run_id):
                        return
                    continue
                yield self._message_to_proto(message)

    def _message_to_proto(self, message: RawMessage | Preview) -> dispatcher_pb2.WatchExecutionResponse:
        time = Timestamp()
        time.FromDatetime(self._clock.now())
        if isinstance(message, RawMessage):
            return dispatcher_pb2.WatchExecutionResponse(time=time, message_json=message.message_json)
        preview = dispatcher_pb2.ExecutionPreview(media_type=message.media_type, image=message.image)
        return dispatcher_pb2.WatchExecutionResponse(time=time, preview=preview)


def _backend_to_proto(report: RunnerReport, run_ids: list[str]) -> dispatcher_pb2.Backend:
    state = report.state
    return dispatcher_pb2.Backend(
        local_key=report.local_key,
        runner_id=report.runner_id,
        url=report.url,
        runtime=report.runtime,
        healthy=state.health is Health.HEALTHY,
        health_reason=state.health_reason,
        recovered=state.recovered,
        observed_age=_duration(state.observed_age),
        run_ids=run_ids,
        foreign_prompts=state.foreign_prompts,
    )


def _duration(value: timedelta) -> Duration:
    made = Duration()
    made.FromTimedelta(value)
    return made


def _start(page_token: str) -> int:
    if not page_token:
        return 0
    if not page_token.isdecimal() or len(page_token) > 9:
        raise InvalidArgument(violations=[Violation("page_token", "MALFORMED", "Send the token of the page before.")])
    return int(page_token)
