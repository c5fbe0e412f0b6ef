"""Making runs: acknowledged at the commit of one transaction, once for each request."""

from dataclasses import dataclass

from services.common.errors import InvalidArgument, NotFound
from services.common.sql import Database
from services.run.feed import RunFeed
from services.run.model.new_run import NewRun
from services.run.model.prepared_run import PreparedRun
from services.run.service.aside import aside, request_bytes
from services.run.service.documents import Documents, read_documents
from services.run.service.preparation import Preparation
from services.run.service.request_hash import request_hash
from services.run.service.wakes import Wakes
from services.run.store.creation import Created, Placer, create_run, find_replay


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """For whom a run is made."""

    team_id: str
    credential_id: str


class RunCreation:
    """The use case of CreateRun, in two steps so that one may watch the run from before it is durable."""

    def __init__(
        self, *, database: Database, preparation: Preparation, placer: Placer, feed: RunFeed, wakes: Wakes
    ) -> None:
        self._database = database
        self._preparation = preparation
        self._placer = placer
        self._feed = feed
        self._wakes = wakes

    async def prepare(self, new: NewRun, caller: Caller) -> PreparedRun | Created:
        """The run that `commit` makes durable, or what an earlier request of the same id made.

        InvalidArgument with all violations, NotFound WORKFLOW_NOT_FOUND, AlreadyExists, Unavailable.
        """
        documents = await aside(request_bytes(new), lambda: read_documents(new))
        try:
            draft = await self._preparation.draft(
                new, documents=documents, team_id=caller.team_id, credential_id=caller.credential_id
            )
            if draft.placed.files and (found := await self._replay(new, documents, caller)) is not None:
                return found  # before files are stored and bound for a run that will not be
            return await self._preparation.finish(draft)
        except (InvalidArgument, NotFound):
            # What a replay names may be gone by now: its workflow, its files. It gets the first answer all the same.
            if (found := await self._replay(new, documents, caller)) is not None:
                return found
            raise

    async def commit(self, prepared: PreparedRun) -> Created:
        """Make the run durable and tell who waits for it. AlreadyExists, FailedPrecondition NO_RUNNER, Unavailable."""
        now = prepared.run.create_time
        created = await self._database.write(
            lambda session: create_run(session, prepared, placer=self._placer, now=now)
        )
        if not created.replayed:
            self._feed.announce(created.snapshot.run.id, created.events)
            if created.assignment is None:
                self._wakes.queued()
            else:
                self._wakes.assigned(created.assignment.dispatcher_id)
        return created

    async def create(self, new: NewRun, caller: Caller) -> Created:
        """Both steps."""
        prepared = await self.prepare(new, caller)
        return prepared if isinstance(prepared, Created) else await self.commit(prepared)

    async def _replay(self, new: NewRun, documents: Documents, caller: Caller) -> Created | None:
        if not new.request_id or "\x00" in new.request_id:
            return None
        digest = await aside(request_bytes(new), lambda: request_hash(new, documents))
        return await self._database.glance(
            lambda session: find_replay(session, caller.team_id, new.request_id, digest, refuse=new.refuse_duplicate)
        )
