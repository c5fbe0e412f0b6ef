"""Runners, as teams see them."""

from services.common.errors import InvalidArgument, NotFound, Violation
from services.common.ids import is_id
from services.common.sql import Database
from services.run.model.runner import Runner
from services.run.store.catalogue import list_runners, runner_by_id

DEFAULT_PAGE = 50
LARGEST_PAGE = 1000


class Runners:
    """The use cases of RunnerService but for catalogues."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def get(self, runner_id: str, *, team_id: str | None) -> Runner:
        """One runner that may serve the team (None: any). NotFound RUNNER_NOT_FOUND."""
        found = await self._database.glance(lambda session: runner_by_id(session, runner_id, team_id=team_id))
        if found is None:
            raise NotFound("No such runner.", reason="RUNNER_NOT_FOUND")
        return found

    async def list(self, *, team_id: str | None, page_size: int, page_token: str) -> tuple[list[Runner], str]:
        """A page of the runners that may serve the team, and the token of the next (empty: none)."""
        if page_token and not is_id(page_token):
            message = "Give the next_page_token of an earlier answer."
            raise InvalidArgument(violations=[Violation("page_token", "BAD_PAGE_TOKEN", message)])
        if page_size < 0:
            raise InvalidArgument(violations=[Violation("page_size", "OUT_OF_RANGE", "Give 1 to 1000.")])
        limit = min(page_size or DEFAULT_PAGE, LARGEST_PAGE)
        found = await self._database.read(
            lambda session: list_runners(session, team_id=team_id, after=page_token, limit=limit + 1)
        )
        page = found[:limit]
        return page, page[-1].id if len(found) > limit else ""
