"""Use cases of teams."""

from services.access.model.replay import replay_of
from services.access.model.scope import Scope
from services.access.model.team import NewTeam, Team
from services.access.store.teams import TeamStore
from services.common.clock import Clock
from services.common.errors import InvalidArgument, NotFound
from services.common.filtering import Page
from services.common.ids import Ids
from services.common.rpc.principal import Principal


class Teams:
    """Makes and shows teams."""

    def __init__(self, *, store: TeamStore, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids

    async def create(self, caller: Principal, wish: NewTeam) -> Team:
        """A new team, or the one that the same request made before.

        InvalidArgument with all violations; AlreadyExists TEAM_NAME_TAKEN or REQUEST_ID_TAKEN.
        """
        violations = wish.violations()
        if violations:
            raise InvalidArgument(violations=violations)
        team = Team(
            id=self._ids.new_id(),
            name=wish.name,
            display_name=wish.display_name or wish.name,
            created_at=self._clock.now(),
        )
        replay = replay_of(caller.team_id or "", wish.request_id, ["team", wish.name, wish.display_name])
        return await self._store.add(team, replay)

    async def get(self, caller: Principal, reference: str) -> Team:
        """The team with this id or name, or (empty) the caller's own; NotFound if there is none that it may see."""
        team = await self._store.find(reference or caller.team())
        if team is None or not _may_see(caller, team.id):
            raise team_not_found()
        return team

    async def list(self, caller: Principal, *, page_size: int, page_token: str) -> Page[Team]:
        """The teams that the caller may see, oldest first; InvalidArgument for a bad page."""
        only = None if caller.may(Scope.INSTALLATION_ADMIN) else caller.team()
        return await self._store.list(only=only, page_size=page_size, page_token=page_token)


def _may_see(caller: Principal, team_id: str) -> bool:
    return caller.team_id == team_id or caller.may(Scope.INSTALLATION_ADMIN)


def team_not_found() -> NotFound:
    """The refusal of a team that is not there, or not the caller's: nobody can tell which."""
    return NotFound("No such team.", reason="TEAM_NOT_FOUND")
