"""One execution, from the first word about it until it is no longer desired.

Its life, in this order:
1. The backend is ready. Where it may have the prompt already (a restart, another session, an unanswered POST), it is
   looked for there: found is adopted, submitted and not found is lost (A6).
2. Its inputs are staged.
3. Its turn comes (A18).
4. It is submitted; from now on only the backend says how it ends.
5. It is followed to its end, which is reported until it is no longer desired.
CANCEL, RECALL and draining take it back before 4; after it they only ask the backend (A8, A18).
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import structlog

from services.dispatcher.drivers.driver import Assignment, Backend, BackendAway, Execution, ExecutionEnded, Stopwatch
from services.dispatcher.model.desired import Action, DesiredExecution, ExecutionSpec
from services.dispatcher.model.ending import Ending, Failure, Outcome, ended
from services.dispatcher.model.execution import ExecutionReport, Finished, Phase, Preview, Running, Staging, Waiting
from services.dispatcher.model.output import Output
from services.dispatcher.model.progress import Progress
from services.dispatcher.service.changes import Changes
from services.dispatcher.service.watching import Watchers

_SETTLE = 1.0
"""An unanswered POST is looked for after so long: it executed 30 times of 30 (A6)."""
_AWAY_PAUSE = 0.05
_LONGEST_AWAY_PAUSE = 5.0
_MISSES = 20
"""A backend that is there and breaks off so often, in about a minute, does not take this execution."""

T = TypeVar("T")
log = structlog.get_logger()


class Home(Protocol):
    """The runner that has the execution."""

    backend: Backend

    def schedule(self) -> None:
        """Somebody may enter the backend's queue."""
        ...

    def ended(self, execution: "DispatchedExecution") -> None:
        """An execution has its ending."""
        ...


class DispatchedExecution:
    """See the module. It is the driver's observer."""

    def __init__(
        self,
        *,
        desired: DesiredExecution,
        spec: ExecutionSpec,
        home: Home,
        fleet_id: str,
        is_inherited: bool,
        changes: Changes,
        watchers: Watchers,
        stopwatch: Stopwatch,
    ) -> None:
        self.desired = desired
        self.spec = spec
        self.wants_turn = False
        self.is_inside = False
        """Whether its prompt is, or is about to be, in the backend's queue."""
        self.began_at: float | None = None
        self._home = home
        self._assignment = Assignment(key=desired.key, spec=spec, fleet_id=fleet_id)
        self._must_look = is_inherited or desired.submitted
        self._was_submitted = desired.submitted
        self._must_settle = is_inherited and not desired.submitted
        """An earlier session may have left a POST unanswered, which arrives when it likes (A6)."""
        self._tells_all = desired.outputs_acknowledged > 0
        """An earlier session told some outputs, maybe in another order: the number says nothing about ours (C3)."""
        self._changes = changes
        self._watchers = watchers
        self._stopwatch = stopwatch
        self._turn = asyncio.Event()
        self._withdrawn: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._execution: Execution | None = None
        self._phase = "staging"
        self._said_so = False
        self._has_left = False
        self._progress: Progress | None = None
        self._outputs: tuple[Output, ...] = ()
        self._staged = (0, sum(item.size_bytes for item in spec.inputs))
        self._confirmed_at = stopwatch()
        self._previews = 0
        self._timer: asyncio.TimerHandle | None = None
        self.ending: Ending | None = None

    # ------------------------------------------------------------------ its life
    async def live(self) -> None:
        """The whole life; ends when the ending is known. A fault of ours ends this execution, not the dispatcher."""
        try:
            async with self._home.backend.execution(self._assignment, self) as execution:
                ending = await self._through(execution)
        except ExecutionEnded as end:
            ending = end.ending
        except Exception:
            log.exception("execution_fault", run_id=self.desired.key.run_id, attempt=self.desired.key.attempt)
            ending = ended(Outcome.FAILED, "DISPATCHER_FAULT", "The dispatcher failed; see its log.", retryable=True)
        finally:
            self._execution = None
            self.wants_turn = self.is_inside = False
            if self._timer is not None:
                self._timer.cancel()
        self.ending = ending
        log.info(
            "execution_ended",
            run_id=self.desired.key.run_id,
            attempt=self.desired.key.attempt,
            outcome=ending.outcome.value,
            code=ending.failure.code if ending.failure else None,
            execution_ms=round(ending.execution.total_seconds() * 1000),
            outputs=len(self._outputs),
        )
        self._changes.now()
        self._home.ended(self)

    async def _through(self, execution: Execution) -> Ending:
        look, misses = self._must_look, 0
        self._obey()
        while True:
            try:
                if look:
                    # It may be there: nothing but the backend can say that it is not.
                    await self._home.backend.ready()
                    if await execution.find():
                        break
                    if self._must_settle:
                        self._must_settle = False
                        await self._unless_withdrawn(lambda: asyncio.sleep(_SETTLE))
                        continue
                    look = False
                    if self._was_submitted and not self._withdrawn.done():
                        return _lost()
                if not self._home.backend.is_ready:
                    await self._unless_withdrawn(self._home.backend.ready)
                if self.spec.inputs:
                    await self._unless_withdrawn(execution.stage)
                await self._take_turn()
                if self._withdrawn.done():
                    return self._withdrawn.result()
                await execution.submit()
                break
            except BackendAway as away:
                log.info("backend_missed", run_id=self.desired.key.run_id, reason=away.reason)
                self._come_back()
                look, misses = look or away.unanswered, misses + 1
                if misses > _MISSES and not look:
                    message = f"The backend cannot be reached: {away.reason}"
                    return ended(Outcome.REJECTED_HERE, "BACKEND_AWAY", message, retryable=True)
                pause = min(_AWAY_PAUSE * 2**misses, _LONGEST_AWAY_PAUSE)
                await asyncio.sleep(max(pause, _SETTLE) if away.unanswered else pause)
        self._enter(execution)
        return await execution.follow()

    async def _take_turn(self) -> None:
        self._phase = "waiting"
        self.wants_turn = True
        self._home.schedule()
        if not self._turn.is_set():
            self._changes.soon()
            await self._unless_withdrawn(self._turn.wait)

    def let_in(self) -> None:
        """Its turn has come."""
        self.wants_turn = False
        self.is_inside = True
        self._turn.set()

    def _come_back(self) -> None:
        """It did not enter after all."""
        self.is_inside = self.wants_turn = False
        self._turn.clear()
        self._home.schedule()

    def _enter(self, execution: Execution) -> None:
        self._execution = execution
        if not self._has_left:
            self.is_inside = True
        if self._phase in ("staging", "waiting"):
            self._phase = "submitted"
        self._confirmed_at = self._stopwatch()
        self._changes.soon()
        self._obey()

    async def _unless_withdrawn(self, step: Callable[[], Awaitable[T]]) -> T:
        """`step`, unless the execution is taken back first."""
        if self._withdrawn.done():
            raise ExecutionEnded(self._withdrawn.result())
        task = asyncio.ensure_future(step())
        both: set[asyncio.Future[Any]] = {task, self._withdrawn}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if self._withdrawn.done():
                raise ExecutionEnded(self._withdrawn.result())
            return task.result()
        finally:
            task.cancel()

    # ------------------------------------------------------------------ what is desired of it
    def desire(self, desired: DesiredExecution) -> None:
        """Take the newest word about it."""
        self.desired = desired
        self._obey()
        self._watch_the_clock()

    def hand_back(self) -> None:
        """The dispatcher is going: what was not submitted goes back, what was stays for adoption."""
        self._withdraw(ended(Outcome.HANDED_BACK, "HANDED_BACK", "The dispatcher is going.", retryable=True))

    def _obey(self) -> None:
        if self.desired.action is Action.CANCEL:
            instead = ended(Outcome.INTERRUPTED, "CANCELLED", "The run was cancelled.")
            if self._execution is not None:
                self._execution.stop(instead)
            self._withdraw(instead)
        elif self.desired.action is Action.RECALL:
            instead = ended(Outcome.RECALLED, "RECALLED", "The run was handed back for another runner.", retryable=True)
            if self._execution is not None and self._phase == "submitted":
                self._execution.recall(instead)
            self._withdraw(instead)

    def _withdraw(self, instead: Ending) -> None:
        if not self._withdrawn.done():
            self._withdrawn.set_result(instead)

    def _watch_the_clock(self) -> None:
        """`timeout` counts from the start at the backend (A18); the run room watches it too, in its own time.

        The run room sends all of it until it knows of the start and what is left from then on: the earliest end of
        all that it sent is the true one.
        """
        left = self.desired.timeout_left
        if left is None or self.began_at is None or self.ending is not None:
            return
        loop = asyncio.get_running_loop()
        at = loop.time() + left.total_seconds()
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = loop.call_at(at, self._time_out)

    def _time_out(self) -> None:
        self._timer = None
        if self._execution is not None and not self._has_left:
            self._execution.stop(ended(Outcome.TIMED_OUT, "TIMEOUT_PASSED", "It executed longer than it may."))

    @property
    def may_be_at_backend(self) -> bool:
        """Whether its prompt may be in the backend's queue: submitted, about to be, or not looked for yet."""
        return self._execution is not None or self.is_inside or self._must_look

    # ------------------------------------------------------------------ what the driver tells
    def confirmed(self) -> None:
        self._confirmed_at = self._stopwatch()

    def staged(self, done_bytes: int, total_bytes: int) -> None:
        self._staged = (done_bytes, total_bytes)
        self._changes.progressed()

    def started(self, *, said_so: bool) -> None:
        if self.began_at is None:
            self.began_at = self._stopwatch()
        self._phase = "running"
        self._said_so = self._said_so or said_so
        self._watch_the_clock()
        self._changes.soon()
        self._home.schedule()

    def progressed(self, progress: Progress) -> None:
        self._progress = progress
        self._changes.progressed()

    def preview_wanted(self) -> bool:
        return self.desired.preview or self._watchers.previews_wanted(self.desired.key.run_id)

    def previewed(self, node_id: str, media_type: str, image: bytes) -> None:
        self._previews += 1
        preview = Preview(
            key=self.desired.key, node_id=node_id, media_type=media_type, image=image, number=self._previews
        )
        self._watchers.previewed(preview, publish=self.desired.preview)

    def raw_wanted(self) -> bool:
        return self._watchers.wanted(self.desired.key.run_id)

    def said(self, message_json: bytes) -> None:
        self._watchers.said(self.desired.key.run_id, message_json)

    def stored(self, outputs: tuple[Output, ...]) -> None:
        self._outputs = outputs
        self._changes.soon()

    def left(self) -> None:
        self._has_left = True
        self.is_inside = False
        self._home.schedule()

    def file_token(self) -> str:
        return self.desired.file_token

    # ------------------------------------------------------------------ what is reported of it
    def elapsed(self) -> float:
        """Seconds since the backend began; 0 before."""
        return self._stopwatch() - self.began_at if self.began_at is not None else 0.0

    def report(self, backend_age: timedelta) -> ExecutionReport:
        """Its part of a CurrentState; `backend_age` stands for it while its prompt is not at the backend."""
        at_backend = self._execution is not None and not self._has_left
        age = timedelta(seconds=max(0.0, self._stopwatch() - self._confirmed_at)) if at_backend else backend_age
        return ExecutionReport(
            key=self.desired.key,
            runner_id=self.desired.runner_id,
            epoch=self.desired.epoch,
            observed_age=age,
            phase=self._reported_phase(),
            staged_bytes=self._staged[0],
            stage_total_bytes=self._staged[1],
            outputs_count=len(self._outputs),
            outputs=self._outputs[0 if self._tells_all else self.desired.outputs_acknowledged :],
        )

    def _reported_phase(self) -> Phase:
        if self.ending is not None:
            return Finished(ending=self.ending)
        if self._phase == "running":
            elapsed = timedelta(seconds=self.elapsed())
            return Running(progress=self._progress, elapsed=elapsed, backend_started=self._said_so)
        return Staging() if self._phase == "staging" else Waiting(submitted=self._phase == "submitted")


def _lost() -> Ending:
    failure = Failure(code="BACKEND_MEMORY", message="The backend no longer knows the prompt.", retryable=True)
    return Ending(outcome=Outcome.LOST, failure=failure)
