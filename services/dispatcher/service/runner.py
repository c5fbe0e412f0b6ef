"""One backend with its executions: who may enter its queue, and what it has warm."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta

from services.dispatcher.drivers.driver import Backend
from services.dispatcher.model.desired import Action, ExecutionKey
from services.dispatcher.model.ending import Outcome
from services.dispatcher.model.execution import ExecutionReport, Orphan, Running, Waiting
from services.dispatcher.model.runner import RunnerReport
from services.dispatcher.service.execution import DispatchedExecution
from services.dispatcher.service.prediction import Prediction

AHEAD_SLOTS = 8
"""Executions beside the executing one that are staged, and may wait in the backend's own queue (A18)."""
AHEAD_SECONDS = 0.25
"""Predicted work in the backend's queue from which on nothing more enters (A18)."""
_WARM_KEYS = 64
_WARM_WORKFLOWS = 48


class Runner:
    """See the module."""

    def __init__(self, *, backend: Backend) -> None:
        self.backend = backend
        self.runner_id = ""
        self.epoch = 0
        self.is_draining = False
        self.is_wanted = True
        """False: it was a registered endpoint and is no longer desired."""
        self.executions: dict[ExecutionKey, DispatchedExecution] = {}
        self.to_look_for: set[ExecutionKey] = set()
        """Desired when this session was granted the runner: an earlier one may have submitted them (A6)."""
        self._prediction = Prediction()
        self._warm: dict[str, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self) -> None:
        """Let in, by order, whoever may enter the backend's queue.

        One at a time is always let in; another only while the work there is predicted, and short (A18).
        """
        if self.is_draining:
            return
        waiting = [item for item in self.executions.values() if item.wants_turn and item.desired.action is Action.RUN]
        for execution in sorted(waiting, key=lambda item: item.desired.order):
            wait = self._wait()
            if wait is None:
                return
            if wait > 0:
                self._again_in(wait)
                return
            execution.let_in()

    def hand_back(self) -> None:
        """Give back what was not submitted; what executes goes on."""
        for execution in self.executions.values():
            execution.hand_back()

    def ended(self, execution: DispatchedExecution) -> None:
        """An execution has its ending: learn from it, and let the next one in."""
        self.schedule()
        ending, spec = execution.ending, execution.spec
        if ending is None or ending.outcome is not Outcome.SUCCEEDED or not spec.warm_key:
            return
        self._prediction.measured(spec.warm_key, ending.execution.total_seconds())
        self._warm.pop(spec.warm_key, None)
        self._warm = dict.fromkeys([spec.warm_key, *list(self._warm)[: _WARM_WORKFLOWS - 1]])

    def orphans(self) -> tuple[Orphan, ...]:
        """Prompts of this fleet that nobody desires; none until this session was granted the runner (A6)."""
        if self.epoch == 0:
            return ()
        return tuple(orphan for orphan in self.backend.orphans() if orphan.key not in self.executions)

    def report(self) -> RunnerReport:
        """Its part of a CurrentState."""
        state = self.backend.state()
        return RunnerReport(
            local_key=self.backend.address.local_key,
            runner_id=self.runner_id,
            epoch=self.epoch,
            runtime=self.backend.runtime,
            url=self.backend.address.url,
            state=state,
            warm_keys=(*self._warm, *state.warm_models)[:_WARM_KEYS],
        )

    def execution_reports(self) -> Iterable[ExecutionReport]:
        """Its executions, and the orphans found at it, for a CurrentState."""
        age = self.backend.state().observed_age
        for execution in self.executions.values():
            yield execution.report(age)
        for orphan in self.orphans():
            phase = (
                Running(progress=None, elapsed=timedelta(0), backend_started=False)
                if orphan.running
                else Waiting(submitted=True)
            )
            yield ExecutionReport(
                key=orphan.key,
                runner_id=self.runner_id,
                epoch=self.epoch,
                observed_age=age,
                phase=phase,
                orphan=True,
            )

    def _wait(self) -> float | None:
        """Seconds until one more may enter; None: not before one has left."""
        inside = [item for item in self.executions.values() if item.is_inside]
        if not inside:
            return 0.0
        if len(inside) > AHEAD_SLOTS:
            return None
        work = 0.0
        for execution in inside:
            predicted = self._prediction.of(execution.spec.warm_key)
            if predicted is None:
                return None
            work += max(0.0, predicted - execution.elapsed())
        return max(0.0, work - AHEAD_SECONDS)

    def _again_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(seconds, 0.005), self.schedule)

    def close(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()
