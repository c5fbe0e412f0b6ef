"""The state stream to the run room (A1, A3, A15).

1. Dial with the dispatcher's credential and say everything.
2. One task writes, whenever a report is due and at least at every heartbeat; one reads and applies; one watches that
   something was heard in the last 15 s and otherwise cancels the call.
3. When the stream ends, whatever the reason, redial with jitter. Nothing is stopped at any backend by that.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc
import structlog
from comfyfleet.run.v1 import run_queue_pb2, run_queue_pb2_grpc

from services.common.clock import Clock
from services.common.errors import Aborted, DomainError, PermissionDenied, Unauthenticated
from services.common.rpc.metadata import bearer
from services.common.status import error_of
from services.dispatcher.model.desired import Desired
from services.dispatcher.service.changes import Changes
from services.dispatcher.service.reconciler import CurrentReport
from services.dispatcher.service.status import Status
from services.dispatcher.worker.converters import desired_from_proto, execution_to_proto, runner_to_proto

FEATURES = ("recall", "preview", "catalogue", "secrets", "endpoints")
HEARTBEAT = 5.0
SILENCE = 15.0
"""Seconds without a DesiredState after which another replica is dialled."""
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 5.0
_REFUSED_PAUSE = 15.0
"""After a refused credential: it may be made valid again, and asking costs the installation something."""

log = structlog.get_logger()

Apply = Callable[[Desired], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """How this dispatcher names itself and describes its runners."""

    dispatcher_id: str
    """Kept across restarts."""
    session_id: str
    """Another at each start; the newest wins (A1)."""
    secret: str = field(repr=False)
    tags: tuple[str, ...] = ()
    region: str = ""
    community: bool = False


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is, when to say it, and who is told what should be."""

    report: Callable[[], CurrentReport]
    changes: Changes
    apply: Apply


class Superseded(Exception):
    """A newer session of this dispatcher is open: this one ends."""


class Synchronizer:
    """See the module."""

    def __init__(
        self,
        *,
        identity: Identity,
        stub: "run_queue_pb2_grpc.RunQueueServiceAsyncStub",
        source: Source,
        status: Status,
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._stub = stub
        self._source = source
        self._status = status
        self._clock = clock
        self._heartbeat = HEARTBEAT
        self._heard_at = 0.0

    async def run(self) -> None:
        """Until cancelled. Raises Superseded."""
        pause = _FIRST_PAUSE
        while True:
            heard = self._status.last_desired_time
            try:
                await self._stream()
            except Aborted as error:
                if error.reason == "SUPERSEDED":
                    raise Superseded(error.message) from error
                log.warning("synchronize_ended", reason=error.reason, message=error.message)
            except (Unauthenticated, PermissionDenied) as error:
                log.error("synchronize_refused", reason=error.reason, message=error.message)
                pause = _REFUSED_PAUSE
            except DomainError as error:
                log.warning("synchronize_ended", reason=error.reason, message=error.message)
            if self._status.last_desired_time != heard:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _stream(self) -> None:
        """One stream, to its end; raises the end's error."""
        loop = asyncio.get_running_loop()
        call = self._stub.Synchronize(metadata=bearer(self._identity.secret))
        self._heard_at = loop.time()
        writer = asyncio.create_task(self._write(call), name="synchronize-writer")
        watchdog = asyncio.create_task(self._watch(call), name="synchronize-watchdog")
        # A writer that fails ends the stream: one that only listens would look alive until the lease is gone.
        writer.add_done_callback(lambda _: call.cancel())
        try:
            while True:
                message = await call.read()
                if not isinstance(message, run_queue_pb2.DesiredState):
                    break
                self._heard_at = loop.time()
                await self._take(message)
            if not await call.code() == grpc.StatusCode.OK:
                raise grpc.aio.AioRpcError(
                    await call.code(),
                    await call.initial_metadata(),
                    await call.trailing_metadata(),
                    await call.details(),
                )
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        except asyncio.CancelledError:
            # The watchdog's cancellation of the call looks like one of this task (A15).
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
        finally:
            self._status.connected = False
            call.cancel()
            for side in (writer, watchdog):
                side.cancel()
            await asyncio.wait({writer, watchdog})
        if not writer.cancelled():
            writer.result()

    async def _take(self, message: run_queue_pb2.DesiredState) -> None:
        desired = desired_from_proto(message)
        if not self._status.connected:
            self._status.connected = True
            log.info("synchronized", version=desired.version, runners=len(desired.runners))
        self._status.last_desired_time = self._clock.now()
        if desired.heartbeat is not None and desired.heartbeat.total_seconds() > 0:
            self._heartbeat = min(desired.heartbeat.total_seconds(), HEARTBEAT)
        await self._source.apply(desired)

    async def _write(
        self, call: "grpc.aio.StreamStreamCall[run_queue_pb2.CurrentState, run_queue_pb2.DesiredState]"
    ) -> None:
        """The only task that writes: two writers would end the call (A15). What it writes is always the newest."""
        number = 0
        while True:
            number += 1
            try:
                await call.write(self._current(number))
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError):
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # The stream is over; the reader says why.
                return
            await self._source.changes.wait(self._heartbeat)

    async def _watch(
        self, call: "grpc.aio.StreamStreamCall[run_queue_pb2.CurrentState, run_queue_pb2.DesiredState]"
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            left = self._heard_at + SILENCE - loop.time()
            if left <= 0:
                log.warning("synchronize_silent")
                call.cancel()
                return
            await asyncio.sleep(left)

    def _current(self, number: int) -> run_queue_pb2.CurrentState:
        report, identity = self._source.report(), self._identity
        return run_queue_pb2.CurrentState(
            dispatcher_id=identity.dispatcher_id,
            session_id=identity.session_id,
            message_number=number,
            applied_version=report.applied_version,
            software=self._status.software,
            features=FEATURES,
            draining=report.draining,
            runners=[
                runner_to_proto(runner, tags=identity.tags, region=identity.region, community=identity.community)
                for runner in report.runners
            ],
            executions=[execution_to_proto(execution) for execution in report.executions],
        )
