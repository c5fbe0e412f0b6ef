"""What one unit of work changes in rows that all units share: shares of teams and versions of dispatchers.

They are written last and in one order, so that two units wait for one another shortly and never in a circle.
"""

from datetime import timedelta

from sqlalchemy import bindparam, update
from sqlmodel import Session

from services.run.store.tables import DISPATCHER, TEAM_SHARE

_SHARE = (
    update(TEAM_SHARE)
    .where(TEAM_SHARE.c.team_id == bindparam("team"))
    .values(
        queued=TEAM_SHARE.c.queued + bindparam("more_queued"),
        active=TEAM_SHARE.c.active + bindparam("more_active"),
        virtual_seconds=TEAM_SHARE.c.virtual_seconds + bindparam("more_seconds"),
    )
)
_VERSION = update(DISPATCHER).where(DISPATCHER.c.id == bindparam("dispatcher")).values(version=DISPATCHER.c.version + 1)


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

    def write(self, session: Session) -> None:
        """Write all of it."""
        connection = session.connection()
        for team_id, (queued, active, seconds) in sorted(self._shares.items()):
            if queued or active or seconds:
                values = {"team": team_id, "more_queued": queued, "more_active": active, "more_seconds": seconds}
                connection.execute(_SHARE, values)
        for dispatcher_id in sorted(self.dispatcher_ids):
            connection.execute(_VERSION, {"dispatcher": dispatcher_id})
