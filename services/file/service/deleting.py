"""Files that a team wants to be rid of."""

from datetime import timedelta

from services.common.clock import Clock
from services.common.errors import DomainError, FailedPrecondition
from services.common.ids import is_id
from services.file.blobs import Blobs
from services.file.model.access import Access, no_such_file
from services.file.model.fact import Occasion
from services.file.service.run_files import RunFiles
from services.file.store.files import Deletion, FileStore


class Deleting:
    """Deletes files that no unfinished run reads."""

    def __init__(self, *, store: FileStore, blobs: Blobs, run_files: RunFiles, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._run_files = run_files
        self._clock = clock

    async def delete(self, access: Access, file_id: str) -> None:
        """Delete the record now, and its bytes if nobody else has them; NotFound, FailedPrecondition FILE_IN_USE.

        A binding may be stale: of a run that has ended without our having heard of it, or that was bound and then
        refused. So the run room is asked before a deletion is refused.
        """
        deletion = await self._attempt(access, file_id)
        if not deletion.found:
            raise no_such_file()
        if not deletion.bound_to:
            return
        await self._let_go(deletion.bound_to)
        deletion = await self._attempt(access, file_id)  # not found by now: it went with the binding
        if deletion.bound_to:
            raise FailedPrecondition(
                "A run that has not ended reads this file; cancel it or wait for its end.", reason="FILE_IN_USE"
            )

    async def _attempt(self, access: Access, file_id: str) -> Deletion:
        if not is_id(file_id):
            return Deletion(found=False)
        occasion = Occasion(at=self._clock.now(), request_id=access.request_id)
        deletion = await self._store.delete(access.team_id, file_id, occasion)
        await self._blobs.delete(deletion.freed_keys)
        return deletion

    async def _let_go(self, run_ids: tuple[str, ...]) -> None:
        try:
            # Its own team wants it gone: a run that does not exist by now has no claim to it.
            await self._run_files.settle(run_ids, unknown_for=timedelta())
        except DomainError:
            return  # no answer: what is bound stays bound
