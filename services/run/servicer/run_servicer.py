"""The door of RunService."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import structlog
from comfyfleet.run.v1 import run_event_pb2, run_pb2, run_service_pb2, run_service_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.common.errors import InvalidArgument, Violation
from services.common.rpc.principal import Principal, PrincipalKind, current_principal
from services.common.rpc.rule import scoped, service_rules
from services.run.feed import RunFeed
from services.run.model.run import RunSnapshot
from services.run.service.cancellation import RunCancellation
from services.run.service.creation import Caller, RunCreation
from services.run.service.query import RunQuery
from services.run.service.watching import RunWatching, Sight
from services.run.service.watching_many import ManyRunsWatching
from services.run.servicer.run_converters import new_run_from_proto, run_to_proto, sight_to_proto
from services.run.servicer.times import time_to_proto
from services.run.store.creation import Created

RULES = service_rules(
    "comfyfleet.run.v1.RunService",
    {
        "CreateRun": scoped("runs:write"),
        "ExecuteRun": scoped("runs:write", endless=True),
        "GetRun": scoped("runs:read"),
        "BatchGetRuns": scoped("runs:read"),
        "ListRuns": scoped("runs:read"),
        "CancelRun": scoped("runs:write"),
        "WaitRun": scoped("runs:read"),
        "WatchRun": scoped("runs:read", endless=True),
        "WatchRuns": scoped("runs:read", endless=True),
    },
)
DEFAULT_WAIT = timedelta(seconds=60)
LONGEST_WAIT = timedelta(minutes=5)
BEFORE_DEADLINE = timedelta(milliseconds=100)
"""A wait ends so long before the call's own deadline, so that the answer still arrives."""

_Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunUseCases:
    """What the door opens to."""

    creation: RunCreation
    query: RunQuery
    cancellation: RunCancellation
    watching: RunWatching
    watching_many: ManyRunsWatching


class RunServicer(run_service_pb2_grpc.RunServiceServicer):
    """RunService, as its contract says."""

    def __init__(self, *, use_cases: RunUseCases, feed: RunFeed) -> None:
        self._creation = use_cases.creation
        self._query = use_cases.query
        self._cancellation = use_cases.cancellation
        self._watching = use_cases.watching
        self._watching_many = use_cases.watching_many
        self._feed = feed

    async def CreateRun(
        self, request: run_service_pb2.CreateRunRequest, _context: _Context
    ) -> run_service_pb2.CreateRunResponse:
        created = await self._creation.create(new_run_from_proto(request), _caller(current_principal()))
        run = _bind(created.snapshot)
        return run_service_pb2.CreateRunResponse(run=run, replayed=created.replayed)

    async def ExecuteRun(
        self, request: run_service_pb2.CreateRunRequest, _context: _Context
    ) -> AsyncIterator[run_event_pb2.RunEvent]:
        caller = _caller(current_principal())
        prepared = await self._creation.prepare(new_run_from_proto(request), caller)
        progress = request.progress if request.HasField("progress") else True
        if not isinstance(prepared, Created):
            # The watcher stands there before the run does: nothing is missed, and no row is read.
            run_id = prepared.run.id
            with self._feed.watch(run_id, progress=progress, previews=request.previews) as watcher:
                created = await self._creation.commit(prepared)
                if not created.replayed:
                    _bind(created.snapshot)
                    async with aclosing(self._watching.from_snapshot(watcher, created.snapshot)) as sights:
                        async for sight in sights:
                            yield _event(sight, run_id)
                    return
            prepared = created
        sights = self._watching.watch(
            prepared.snapshot.run.id,
            team_id=caller.team_id,
            after=None,
            progress=progress,
            previews=request.previews,
        )
        async with aclosing(sights):
            async for sight in sights:
                yield _event(sight, prepared.snapshot.run.id)

    async def GetRun(
        self, request: run_service_pb2.GetRunRequest, _context: _Context
    ) -> run_service_pb2.GetRunResponse:
        full = request.view == run_pb2.RUN_VIEW_FULL
        snapshot = await self._query.get(_id(request.run_id), team_id=current_principal().team(), full=full)
        return run_service_pb2.GetRunResponse(run=run_to_proto(snapshot))

    async def BatchGetRuns(
        self, request: run_service_pb2.BatchGetRunsRequest, _context: _Context
    ) -> run_service_pb2.BatchGetRunsResponse:
        principal = current_principal()
        team_id = None if principal.kind is PrincipalKind.SERVICE else principal.team()
        found, missing = await self._query.batch_get(request.run_ids, team_id=team_id)
        return run_service_pb2.BatchGetRunsResponse(
            runs=[run_to_proto(snapshot) for snapshot in found], missing_run_ids=missing
        )

    async def ListRuns(
        self, request: run_service_pb2.ListRunsRequest, _context: _Context
    ) -> run_service_pb2.ListRunsResponse:
        page = await self._query.list(
            team_id=current_principal().team(),
            page_size=request.page_size,
            page_token=request.page_token,
            filter_text=request.filter,
            order_by=request.order_by,
        )
        return run_service_pb2.ListRunsResponse(
            runs=[run_to_proto(snapshot) for snapshot in page.rows], next_page_token=page.next_page_token
        )

    async def CancelRun(
        self, request: run_service_pb2.CancelRunRequest, _context: _Context
    ) -> run_service_pb2.CancelRunResponse:
        snapshot = await self._cancellation.cancel(_id(request.run_id), team_id=current_principal().team())
        return run_service_pb2.CancelRunResponse(run=run_to_proto(snapshot))

    async def WaitRun(
        self, request: run_service_pb2.WaitRunRequest, context: _Context
    ) -> run_service_pb2.WaitRunResponse:
        timeout = _wait(request)
        remaining = context.time_remaining()
        if remaining is not None:
            timeout = max(timedelta(), min(timeout, timedelta(seconds=min(remaining, 1e6)) - BEFORE_DEADLINE))
        snapshot = await self._watching.wait(_id(request.run_id), team_id=current_principal().team(), timeout=timeout)
        return run_service_pb2.WaitRunResponse(run=run_to_proto(snapshot))

    async def WatchRun(
        self, request: run_service_pb2.WatchRunRequest, _context: _Context
    ) -> AsyncIterator[run_event_pb2.RunEvent]:
        sights = self._watching.watch(
            _id(request.run_id),
            team_id=current_principal().team(),
            after=request.after_sequence if request.HasField("after_sequence") else None,
            progress=request.progress if request.HasField("progress") else True,
            previews=request.previews,
        )
        async with aclosing(sights):
            async for sight in sights:
                yield _event(sight, request.run_id)

    async def WatchRuns(
        self, request: run_service_pb2.WatchRunsRequest, _context: _Context
    ) -> AsyncIterator[run_service_pb2.WatchRunsResponse]:
        changes = self._watching_many.watch(
            team_id=current_principal().team(), filter_text=request.filter, cursor=_cursor(request)
        )
        async with aclosing(changes):
            async for change in changes:
                yield run_service_pb2.WatchRunsResponse(
                    run=run_to_proto(change.snapshot), cursor=time_to_proto(change.cursor)
                )


def _caller(principal: Principal) -> Caller:
    return Caller(team_id=principal.team(), credential_id=principal.credential_id)


def _bind(snapshot: RunSnapshot) -> run_pb2.Run:
    """The run as a message; its id in the log of this call."""
    structlog.contextvars.bind_contextvars(run_id=snapshot.run.id)
    return run_to_proto(snapshot)


def _event(sight: Sight, run_id: str) -> run_event_pb2.RunEvent:
    return sight_to_proto(sight, run_id=run_id, now=datetime.now(UTC))


def _id(run_id: str) -> str:
    """An id that no database chokes on; no run has the other one."""
    structlog.contextvars.bind_contextvars(run_id=run_id[:36])
    return run_id.replace("\x00", " ")


def _wait(request: run_service_pb2.WaitRunRequest) -> timedelta:
    if not request.HasField("timeout"):
        return DEFAULT_WAIT
    try:
        return max(timedelta(), min(request.timeout.ToTimedelta(), LONGEST_WAIT))
    except (ValueError, OverflowError):
        message = "Give a duration of at most 5 minutes."
        raise InvalidArgument(violations=[Violation("timeout", "OUT_OF_RANGE", message)]) from None


def _cursor(request: run_service_pb2.WatchRunsRequest) -> datetime | None:
    if not request.HasField("cursor"):
        return None
    cursor: Timestamp = request.cursor
    try:
        return cursor.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument(
            violations=[Violation("cursor", "BAD_CURSOR", "Give a cursor as it was given.")]
        ) from None
