"""What time does to files, and what reaches the right state although an event was lost."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from services.common.clock import Clock
from services.common.errors import DomainError
from services.file.blobs import PARTS, Blobs
from services.file.model.fact import Occasion
from services.file.service.run_files import RunFiles
from services.file.store.bindings import BindingStore
from services.file.store.files import FileStore
from services.file.store.rows import BATCH

SWEEP_FAILED = "file_sweep_failed"
INTERVAL = timedelta(seconds=60)
"""What an event does at once, a sweep does within this time."""
ASK_AFTER = timedelta(seconds=10)
"""A run is not asked about before: its end is told by an event, usually."""
ASK_AT_MOST = 50
"""Batches of runs in one round; the next round goes on behind them."""
BLOB_GRACE = timedelta(hours=1)
"""A blob that no record names is let be for so long: its upload may be about to make the record."""

_log = structlog.get_logger()


class Sweep:
    """Goes through everything that may be over. One round does the following, each step whatever the others do.

    1. Files whose time is over. 2. Runs that have inputs bound, or made outputs of unknown fate: the run room is asked.
    3. One of the parts of the blob store: blobs of no record. 4. Temporary files of processes that died.
    """

    def __init__(
        self, *, store: FileStore, bindings: BindingStore, run_files: RunFiles, blobs: Blobs, clock: Clock
    ) -> None:
        self._store = store
        self._bindings = bindings
        self._run_files = run_files
        self._blobs = blobs
        self._clock = clock
        self._last_run = ""
        self._part = 0

    async def round(self) -> None:
        """One round. What fails is logged, and tried again in the next."""
        steps = (self._expired, self._runs, self._orphan_blobs, self._temporary)
        for step in steps:
            await _tolerantly(step)

    async def _expired(self) -> None:
        count = BATCH
        while count == BATCH:
            count, freed = await self._store.delete_expired(Occasion(at=self._clock.now()))
            await self._blobs.delete(freed)

    async def _runs(self) -> None:
        for _ in range(ASK_AT_MOST):
            before = self._clock.now() - ASK_AFTER
            run_ids = await self._bindings.pending_runs(after=self._last_run, before=before, limit=BATCH)
            if run_ids:
                await self._run_files.settle(run_ids)
            self._last_run = run_ids[-1] if run_ids else ""
            if len(run_ids) < BATCH:
                self._last_run = ""
                return

    async def _orphan_blobs(self) -> None:
        keys = await self._blobs.older_than(self._clock.now() - BLOB_GRACE, part=self._part)
        self._part = (self._part + 1) % PARTS
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            named = await self._store.named_blobs(batch)
            await self._blobs.delete([key for key in batch if key not in named])

    async def _temporary(self) -> None:
        await self._blobs.reclaim()


async def _tolerantly(step: Callable[[], Awaitable[None]]) -> None:
    try:
        await step()
    except (DomainError, OSError) as error:
        _log.warning(SWEEP_FAILED, step=getattr(step, "__name__", ""), error=str(error))
