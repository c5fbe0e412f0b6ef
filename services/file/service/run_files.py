"""The files of runs: bound when a run is made, let go when it has ended, and told from orphans."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from services.common.clock import Clock
from services.common.errors import InvalidArgument, Violation
from services.common.ids import is_id
from services.file.blobs import Blobs
from services.file.model.access import Access
from services.file.model.binding import WantedFile
from services.file.model.fact import Occasion
from services.file.model.file import PROVISIONAL_FOR
from services.file.model.run_fate import RunFate
from services.file.service.runs import Runs
from services.file.store.bindings import BindingStore, Bound, Released

MAX_INPUTS = 1000
"""Files that one run may read: what one statement and one answer hold easily."""


class RunFiles:
    """Binds and lets go."""

    def __init__(self, *, bindings: BindingStore, blobs: Blobs, runs: Runs, clock: Clock) -> None:
        self._bindings = bindings
        self._blobs = blobs
        self._runs = runs
        self._clock = clock

    async def bind(self, access: Access, run_id: str, wanted: Sequence[WantedFile], *, delete_at_end: bool) -> Bound:
        """Make files inputs of a run, all or none; doing it again changes nothing."""
        violations = []
        if not is_id(run_id):
            violations.append(Violation("run_id", "MALFORMED", "Give the id of a run."))
        if len(wanted) > MAX_INPUTS:
            violations.append(Violation("files", "TOO_MANY", f"A run reads at most {MAX_INPUTS} files."))
        if violations:
            raise InvalidArgument(violations=violations)
        return await self._bindings.bind(
            team_id=access.team_id,
            run_id=run_id,
            wanted=wanted,
            delete_at_end=delete_at_end,
            now=self._clock.now(),
        )

    async def conclude(self, run_id: str, *, request_id: str | None = None) -> None:
        """The run has ended: its inputs are free, and those that were to go, go. Doing it again changes nothing."""
        if not await self._bindings.has_inputs(run_id):
            return
        occasion = Occasion(at=self._clock.now(), request_id=request_id)
        await self._in_batches(lambda: self._bindings.release(run_id, occasion))

    async def settle(self, run_ids: Sequence[str], *, unknown_for: timedelta = PROVISIONAL_FOR) -> None:
        """Ask the run room about these runs, and do what follows from its answers; nothing without one.

        What has been bound to a run that does not exist is let go after `unknown_for`: until then the run may be about
        to be made.
        """
        fates = await self._runs.fates(run_ids)
        occasion = Occasion(at=self._clock.now())
        before = occasion.at - unknown_for
        ended = {run_id: fates[run_id] for run_id in run_ids if run_id in fates and fates[run_id].ended}
        for run_id in run_ids:
            if run_id not in fates:
                await self._settle_unknown(run_id, occasion, before)
            elif run_id in ended:
                await self.conclude(run_id)
        referenced = [file_id for fate in ended.values() for file_id in fate.output_file_ids]
        # Nearly all outputs are referred to: those of many runs are settled together, and only what is left one by one.
        for run_id in await self._bindings.keep_outputs(list(ended), referenced):
            await self._settle_outputs(ended[run_id], occasion)

    async def _settle_unknown(self, run_id: str, occasion: Occasion, before: datetime) -> None:
        await self._in_batches(lambda: self._bindings.release_unknown(run_id, occasion, before=before))
        # Only of a run that once existed can there be outputs. Its record is gone; what it made is not judged.
        await self._in_batches(lambda: self._bindings.settle_outputs(run_id, occasion, referenced=None))

    async def _settle_outputs(self, fate: RunFate, occasion: Occasion) -> None:
        await self._in_batches(
            lambda: self._bindings.settle_outputs(fate.run_id, occasion, referenced=fate.output_file_ids)
        )

    async def _in_batches(self, step: Callable[[], Awaitable[Released]]) -> None:
        complete = False
        while not complete:
            released = await step()
            await self._blobs.delete(released.freed_keys)
            complete = released.complete
