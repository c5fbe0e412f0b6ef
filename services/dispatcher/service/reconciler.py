"""Makes what is desired true, level by level (A1 to A6, A18).

`apply` takes the newest DesiredState, whole; `report` gives the CurrentState, whole. Nothing else is remembered between
two messages but what is at the backends, so a lost message or another replica costs nothing.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from services.dispatcher.drivers.driver import Backend, BackendAddress, BackendListener, Stopwatch
from services.dispatcher.model.desired import Desired, DesiredExecution, DesiredRunner, ExecutionKey
from services.dispatcher.model.execution import ExecutionReport
from services.dispatcher.model.runner import RunnerReport
from services.dispatcher.service.changes import Changes
from services.dispatcher.service.execution import DispatchedExecution
from services.dispatcher.service.runner import Runner
from services.dispatcher.service.watching import Watchers

log = structlog.get_logger()

_FRESH = 15.0
"""Seconds for which a DesiredState is taken for the present; one comes every five."""

BackendFactory = Callable[[BackendAddress, BackendListener], Backend]


@dataclass(frozen=True, kw_only=True)
class CurrentReport:
    """What is, whole."""

    applied_version: int
    draining: bool
    runners: tuple[RunnerReport, ...]
    executions: tuple[ExecutionReport, ...]


class Reconciler:
    """See the module. All methods are called on one event loop and none of them waits, but `run` and `drained`."""

    def __init__(
        self,
        *,
        addresses: tuple[BackendAddress, ...],
        make_backend: BackendFactory,
        changes: Changes,
        watchers: Watchers,
        stopwatch: Stopwatch,
    ) -> None:
        self._make_backend = make_backend
        self._changes = changes
        self._watchers = watchers
        self._stopwatch = stopwatch
        self._runners = {address.local_key: Runner(backend=make_backend(address, self)) for address in addresses}
        self._configured = frozenset(self._runners)
        self._tasks: dict[ExecutionKey, asyncio.Task[None]] = {}
        self._backend_tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self.applied_version = 0
        self._applied_at = float("-inf")
        self.is_draining = False

    async def run(self) -> None:
        """Keep all backends until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for runner in self._runners.values():
                    self._start(runner)
                await asyncio.Event().wait()
        finally:
            self._group = None
            for runner in self._runners.values():
                runner.close()

    # ------------------------------------------------------------------ what is
    def report(self) -> CurrentReport:
        """Everything, whole. Orphans that are reported are on their way out."""
        executions: list[ExecutionReport] = []
        for runner in self._runners.values():
            executions.extend(runner.execution_reports())
        return CurrentReport(
            applied_version=self.applied_version,
            draining=self.is_draining,
            runners=tuple(runner.report() for runner in self._runners.values()),
            executions=tuple(executions),
        )

    def catalogue(self, capabilities_hash: str) -> bytes | None:
        """The node catalogue of that hash, if a backend has it."""
        found = (runner.backend.catalogue(capabilities_hash) for runner in self._runners.values())
        return next((content for content in found if content is not None), None)

    def has_run(self, run_id: str) -> bool:
        """Whether any execution of this run is here."""
        return any(key.run_id == run_id for runner in self._runners.values() for key in runner.executions)

    def is_finished(self, run_id: str) -> bool:
        """Whether no execution of this run is under way."""
        return all(
            execution.ending is not None
            for runner in self._runners.values()
            for key, execution in runner.executions.items()
            if key.run_id == run_id
        )

    # ------------------------------------------------------------------ what should be
    def apply(self, desired: Desired) -> None:
        """Begin to make it true. A lower version than the last is ignored (A3)."""
        if desired.version < self.applied_version:
            log.info("desire_outdated", version=desired.version, applied=self.applied_version)
            return
        self.applied_version = desired.version
        self._applied_at = self._stopwatch()
        adopted = self._apply_runners(desired)
        by_id = {runner.runner_id: runner for runner in self._runners.values() if runner.runner_id}
        wanted: set[ExecutionKey] = set()
        for execution in desired.executions:
            runner = by_id.get(execution.runner_id)
            if runner is None:
                continue
            wanted.add(execution.key)
            if runner in adopted:
                runner.to_look_for.add(execution.key)
            self._desire(runner, execution, desired)
        for runner in list(self._runners.values()):
            for key in [key for key in runner.executions if key not in wanted]:
                self._forget(runner, key)
            runner.to_look_for &= wanted
            runner.schedule()
            self._retire(runner)
        self._remove_orphans()

    def backend_changed(self) -> None:
        """A backend's state is another; what it has that nobody wants goes.

        Not while the run room is silent: a process that was stopped for a while may be superseded by another session,
        whose prompts it would take for orphans.
        """
        if self._stopwatch() - self._applied_at < _FRESH:
            self._remove_orphans()
        self._changes.now()

    def _remove_orphans(self) -> None:
        for runner in self._runners.values():
            for orphan in runner.orphans():
                runner.backend.remove(orphan.prompt_id)

    def _apply_runners(self, desired: Desired) -> list[Runner]:
        """Take names and epochs; those with a new epoch may have prompts of an earlier session (A2, A6)."""
        adopted: list[Runner] = []
        named = {wanted.local_key: wanted for wanted in desired.runners}
        for wanted in desired.runners:
            runner = self._driven(wanted)
            if runner is None or wanted.epoch < runner.epoch:
                continue
            if wanted.epoch != runner.epoch:
                adopted.append(runner)
                self._changes.soon()
            runner.runner_id, runner.epoch = wanted.runner_id, wanted.epoch
            runner.is_draining = self.is_draining or not wanted.enabled
            if not wanted.enabled:
                runner.hand_back()
            runner.is_wanted = True
            if desired.fleet_id:
                runner.backend.adopt_fleet(desired.fleet_id)
        for local_key, runner in self._runners.items():
            if local_key not in named and local_key not in self._configured:
                runner.is_wanted = False
        return adopted

    def _desire(self, runner: Runner, desired: DesiredExecution, whole: Desired) -> None:
        known = runner.executions.get(desired.key)
        if known is not None:
            known.desire(desired)
            return
        if desired.spec is None:
            # The run room thinks that we have it: our next report, which does not list it, tells it otherwise (A16).
            self._changes.soon()
            return
        execution = DispatchedExecution(
            desired=desired,
            spec=desired.spec,
            home=runner,
            fleet_id=whole.fleet_id,
            is_inherited=desired.key in runner.to_look_for,
            changes=self._changes,
            watchers=self._watchers,
            stopwatch=self._stopwatch,
        )
        runner.executions[desired.key] = execution
        if self._group is not None:
            name = f"execution-{desired.key.run_id}-{desired.key.attempt}"
            self._tasks[desired.key] = self._group.create_task(execution.live(), name=name)
        if runner.is_draining or whole.drain:
            execution.hand_back()

    def _forget(self, runner: Runner, key: ExecutionKey) -> None:
        """No longer desired: finished is forgotten, unfinished belongs to somebody else; stop it, drop its results."""
        execution = runner.executions.pop(key)
        task = self._tasks.pop(key, None)
        if execution.ending is None:
            log.info("execution_dropped", run_id=key.run_id, attempt=key.attempt)
            if task is not None:
                task.cancel()
            if execution.may_be_at_backend:
                runner.backend.remove(execution.spec.prompt_id)
            self._changes.soon()

    # ------------------------------------------------------------------ registered endpoints
    def _driven(self, wanted: DesiredRunner) -> Runner | None:
        """The runner of that name; a registered one is begun, and begun anew where its address is another."""
        known = self._runners.get(wanted.local_key)
        if wanted.endpoint is None:
            return known
        address = BackendAddress(
            local_key=wanted.local_key, url=wanted.endpoint.url, headers=dict(wanted.endpoint.headers)
        )
        if known is not None and (known.backend.address == address or known.executions):
            # With executions there, another address waits until they have ended.
            return known
        if known is not None:
            self._leave(known)
        runner = self._runners[wanted.local_key] = Runner(backend=self._make_backend(address, self))
        self._start(runner)
        return runner

    def _retire(self, runner: Runner) -> None:
        """Leave a registered backend that is no longer desired and has nothing of ours."""
        if runner.is_wanted or runner.executions or runner.backend.state().reaping:
            return
        self._leave(runner)

    def _leave(self, runner: Runner) -> None:
        local_key = runner.backend.address.local_key
        del self._runners[local_key]
        runner.close()
        task = self._backend_tasks.pop(local_key, None)
        if task is not None:
            task.cancel()

    def _start(self, runner: Runner) -> None:
        if self._group is not None:
            local_key = runner.backend.address.local_key
            self._backend_tasks[local_key] = self._group.create_task(runner.backend.run(), name=f"backend-{local_key}")

    # ------------------------------------------------------------------ the end
    def drain(self) -> None:
        """Take nothing new, hand back what was not submitted; what executes goes on."""
        self.is_draining = True
        for runner in self._runners.values():
            runner.is_draining = True
            runner.hand_back()
        self._changes.now()

    async def drained(self) -> None:
        """Return once nothing is under way and the run room knows all endings."""
        while any(runner.executions for runner in self._runners.values()):
            tasks = [task for task in self._tasks.values() if not task.done()]
            if tasks:
                await asyncio.wait(tasks, timeout=0.1)
            else:
                await asyncio.sleep(0.02)
