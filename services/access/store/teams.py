"""Rows of teams."""

from typing import Any

from sqlalchemy import select
from sqlmodel import Session

from services.access.model.replay import Replay
from services.access.model.team import Team
from services.access.store.replays import remember, replayed, write_unique
from services.access.store.tables import TeamRow
from services.common.errors import AlreadyExists
from services.common.filtering import FieldKind, FilterField, Page, parse_listing
from services.common.sql import Database

_TEAM: Any = TeamRow.__table__  # type: ignore[attr-defined]  # SQLModel's stubs do not know it
_FIELDS = {"id": FilterField(kind=FieldKind.TEXT, column=_TEAM.c.id, orderable=True)}


class TeamStore:
    """Keeps teams."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def add(self, team: Team, replay: Replay | None) -> Team:
        """Keep `team`; the one made before if this is a replay; AlreadyExists if its name or request id is taken."""

        def unit(session: Session) -> Team:
            # The name first: where a twin of this request commits in between, its mark is then seen too.
            taken = session.connection().execute(select(_TEAM.c.id).where(_TEAM.c.name == team.name)).first()
            made = replayed(session, replay)
            if made is not None:
                return _team(session.get_one(TeamRow, made))
            if taken:
                raise AlreadyExists("Another team has this name; choose another.", reason="TEAM_NAME_TAKEN")
            session.add(TeamRow(id=team.id, name=team.name, display_name=team.display_name, created_at=team.created_at))
            remember(session, replay, team.id, team.created_at)
            session.flush()
            return team

        return await write_unique(self._database, unit)

    async def find(self, reference: str) -> Team | None:
        """The team with this id or name."""
        statement = select(_TEAM).where((_TEAM.c.id == reference) | (_TEAM.c.name == reference))

        def unit(session: Session) -> Team | None:
            row = session.connection().execute(statement).first()
            return None if row is None else _team(row)

        return await self._database.glance(unit)

    async def list(self, *, only: str | None, page_size: int, page_token: str) -> Page[Team]:
        """A page of teams, oldest first; of the one with the id `only`, if given."""
        listing = parse_listing(
            fields=_FIELDS,
            page_size=page_size,
            page_token=page_token,
            default_order="id",
            tie_breaker="id",
            scope=only or "*",
        )
        statement = listing.apply(select(_TEAM) if only is None else select(_TEAM).where(_TEAM.c.id == only))

        def unit(session: Session) -> list[Team]:
            return [_team(row) for row in session.connection().execute(statement)]

        return listing.page(await self._database.read(unit), lambda team, _field: team.id)


def _team(row: Any) -> Team:
    return Team(id=row.id, name=row.name, display_name=row.display_name, created_at=row.created_at)
