"""Previews on their way from a dispatcher to watchers: limited, latest wins, never stored (EXECUTION A17)."""

from datetime import datetime, timedelta

from services.common.clock import Clock
from services.run.feed import RunFeed
from services.run.model.progress import RunPreview
from services.run.model.runner import Owner
from services.run.service.sessions import Sessions

MAX_PREVIEW_BYTES = 256 * 1024
EVERY = timedelta(milliseconds=250)
"""At most four a second of one run."""


class Previews:
    """One stream of previews."""

    def __init__(self, *, owner: Owner, sessions: Sessions, feed: RunFeed, clock: Clock) -> None:
        self._owner = owner
        self._sessions = sessions
        self._feed = feed
        self._clock = clock
        self._last: dict[str, datetime] = {}
        self.accepted_count = 0

    def take(self, run_id: str, preview: RunPreview) -> None:
        """Pass a preview on, or drop it: too large, too soon, unwanted, or of an execution that is not the owner's."""
        now = self._clock.now()
        last = self._last.get(run_id)
        if len(preview.image) > MAX_PREVIEW_BYTES or (last is not None and now - last < EVERY):
            return
        if not self._feed.preview_wanted(run_id):
            return
        if self._sessions.holder(run_id, preview.attempt, team_id=self._owner.team_id) is None:
            return
        if len(self._last) > 1000:
            self._last.clear()
        self._last[run_id] = now
        self._feed.preview(run_id, preview)
        self.accepted_count += 1
