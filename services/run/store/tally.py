"""What one unit of work changes in rows that all units share: shares of teams and versions of dispatchers.

They are written last and in one order, so that two units wait for one another shortly and never in a circle.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import Session

from services.common.sql import Prepared
from services.run.store.tables import DISPATCHER, TEAM_SHARE

_ADDED = {
    "queued": TEAM_SHARE.c.queued + bindparam("more_queued"),
    "active": TEAM_SHARE.c.active + bindparam("more_active"),
    "virtual_seconds": TEAM_SHARE.c.virtual_seconds + bindparam("more_seconds"),
}
_SHARE = Prepared(update(TEAM_SHARE).where(TEAM_SHARE.c.team_id == bindparam("team")).values(_ADDED))
_FIRST: dict[str, Any] = {
    "team_id": bindparam("team"),
    "queued": bindparam("more_queued"),
    "active": bindparam("more_active"),
    "virtual_seconds": bindparam("more_seconds"),
}
_UPSERT = {
    dialect: Prepared(insert(TEAM_SHARE).values(_FIRST).on_conflict_do_update(index_elements=["team_id"], set_=_ADDED))
    for dialect, insert in (("sqlite", sqlite_insert), ("postgresql", postgres_insert))
}
_VERSION = Prepared(
    update(DISPATCHER).where(DISPATCHER.c.id == bindparam("dispatcher")).values(version=DISPATCHER.c.version + 1)
)


class Tally:
    """Collects the changes; `write` once, at the end of the unit."""

    def __init__(self) -> None:
        self._shares: dict[str, tuple[int, int, float]] = {}
        self.dispatcher_ids: set[str] = set()

    def share(self, team_id: str, *, queued: int = 0, active: int = 0, charge: timedelta = timedelta()) -> None:
        """Add to what a team has waiting and executing, and charge it for time (negative: give back)."""
        had = self._shares.get(team_id, (0, 0, 0.0))
        self._shares[team_id] = (had[0] + queued, had[1] + active, had[2] + charge.total_seconds())

    def touch(self, dispatcher_id: str) -> None:
        """The dispatcher's executions change: its version grows by one."""
        self.dispatcher_ids.add(dispatcher_id)

    def write(self, session: Session, *, new_teams: bool = False) -> None:
        """Write all of it. `new_teams`: whether a team may have no row yet, since it never had a run."""
        statement = _UPSERT[session.get_bind().dialect.name] if new_teams else _SHARE
        for team_id, (queued, active, seconds) in sorted(self._shares.items()):
            if queued or active or seconds:
                values = {"team": team_id, "more_queued": queued, "more_active": active, "more_seconds": seconds}
                statement.run(session, values)
        for dispatcher_id in sorted(self.dispatcher_ids):
            _VERSION.run(session, {"dispatcher": dispatcher_id})
