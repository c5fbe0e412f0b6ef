"""Opens the streams of dispatchers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from services.common.errors import Unavailable
from services.common.ids import new_id
from services.run.model.report import StateReport
from services.run.model.runner import Owner
from services.run.service.desk import Desk, Grants
from services.run.service.previews import Previews
from services.run.service.session import DispatcherSession, Room
from services.run.service.sessions import Sessions
from services.run.service.settlement import Standing

STREAM_OPENED = "dispatcher_stream_opened"
STREAM_CLOSED = "dispatcher_stream_closed"

_log = structlog.get_logger()


class Dispatchers:
    """The streams of this process."""

    def __init__(self, *, room: Room, sessions: Sessions, grants: Grants, max_output_bytes: int) -> None:
        self._room = room
        self._sessions = sessions
        self._grants = grants
        self._max_output_bytes = max_output_bytes

    @asynccontextmanager
    async def session(self, owner: Owner, first: StateReport) -> AsyncIterator[DispatcherSession]:
        """A session for one stream, opened by its first report; an older stream of the dispatcher ends."""
        standing = Standing(
            owner=owner,
            dispatcher_id=owner.key_of(first.dispatcher_id),
            session_id=first.session_id,
            stream=new_id(),
        )
        desk = Desk(owner=owner, grants=self._grants, interest=self._room.feed, max_output_bytes=self._max_output_bytes)
        session = DispatcherSession(room=self._room, standing=standing, desk=desk, first=first)
        words = {"dispatcher": first.dispatcher_id, "session": first.session_id}
        await session.open()
        _log.info(STREAM_OPENED, **words, software=first.software)
        # Only now: a session that is over must not end the one that is in its place.
        with self._sessions.joined(session):
            session.wake()  # for what was said before it could be heard
            try:
                yield session
            finally:
                try:
                    await session.close()
                except Unavailable:
                    _log.warning(STREAM_CLOSED, **words, noted=False)
                else:
                    _log.info(STREAM_CLOSED, **words, noted=True)

    def previews(self, owner: Owner) -> Previews:
        """One stream of previews."""
        return Previews(owner=owner, sessions=self._sessions, feed=self._room.feed, clock=self._room.clock)
