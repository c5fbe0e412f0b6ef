"""The streams of this process, by dispatcher, and how words reach them wherever they are."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

from services.run.service.session import DispatcherSession

ASSIGNED = "assigned"
QUEUED = "queued"


class Hints(Protocol):
    """Words between replicas: at most once, never stored."""

    def publish(self, subject: str, payload: bytes) -> None:
        """Send a word; returns at once."""
        ...

    def subscribed(self, pattern: str, callback: Callable[[str, bytes], None]) -> AbstractContextManager[None]:
        """Call `callback(subject, payload)` for each word on `pattern` while the block lasts."""
        ...


class Sessions:
    """Wakes the stream of a dispatcher here, or tells the replica that has it; the same for the matcher."""

    def __init__(self, *, hints: Hints) -> None:
        self._hints = hints
        self._sessions: dict[str, DispatcherSession] = {}
        self._matcher: Callable[[], None] | None = None

    def serve_matcher(self, wake: Callable[[], None]) -> None:
        """Say how the matcher of this process is woken."""
        self._matcher = wake

    def assigned(self, dispatcher_id: str) -> None:
        """What that dispatcher should have has changed."""
        session = self._sessions.get(dispatcher_id)
        if session is not None:
            session.wake()
        else:
            self._hints.publish(f"{ASSIGNED}.{dispatcher_id}", b"")

    def cancel_requested(self, dispatcher_id: str) -> None:
        """A run at that dispatcher is to stop."""
        self.assigned(dispatcher_id)

    def queued(self) -> None:
        """A run waits, or a runner has room."""
        # Whoever leads hears it, here at once; a matcher that only stands by ignores it.
        self._hints.publish(QUEUED, b"")

    def preview_wanted(self, run_id: str) -> None:
        """Somebody begins to watch a run's previews."""
        for session in self._sessions.values():
            if session.holds_run(run_id):
                session.wake()

    def catalogue_came(self) -> None:
        """A catalogue was uploaded."""
        for session in self._sessions.values():
            session.look_for_catalogues()

    def holder(self, run_id: str, attempt: int, *, team_id: str | None) -> DispatcherSession | None:
        """The stream here of a dispatcher of that owner that holds the execution."""
        for session in self._sessions.values():
            if session.standing.owner.team_id == team_id and session.holds(run_id, attempt):
                return session
        return None

    @contextmanager
    def joined(self, session: DispatcherSession) -> Iterator[None]:
        """Keep the session on the list; an older one of the same dispatcher learns that it is over."""
        dispatcher_id = session.standing.dispatcher_id
        older = self._sessions.get(dispatcher_id)
        self._sessions[dispatcher_id] = session
        if older is not None:
            older.supersede()
        try:
            yield
        finally:
            if self._sessions.get(dispatcher_id) is session:
                del self._sessions[dispatcher_id]

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear other replicas, meanwhile."""
        with ExitStack() as stack:
            stack.enter_context(self._hints.subscribed(f"{ASSIGNED}.*", self._hear_assigned))
            stack.enter_context(self._hints.subscribed(QUEUED, self._hear_queued))
            yield

    def _hear_assigned(self, subject: str, _payload: bytes) -> None:
        session = self._sessions.get(subject.rpartition(".")[2])
        if session is not None:
            session.wake()

    def _hear_queued(self, _subject: str, _payload: bytes) -> None:
        if self._matcher is not None:
            self._matcher()
