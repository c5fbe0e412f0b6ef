"""Who watches a run, and how word of it reaches them.

After a commit, `announce` gives the events to the watchers of this replica at once, and a hint with the run's
sequence to other replicas, which read the rows. Hints may be lost: watchers also look by themselves (EXECUTION C1).
Progress and previews go the same two ways and are never stored here; of a slow watcher's only the latest is kept.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from services.common.ids import new_id
from services.run.model.event import LoggedEvent
from services.run.model.progress import RunPreview, RunProgress
from services.run.model.run import RunSnapshot

EVENTS_KEPT = 256
"""A watcher that has not taken so many events reads rows instead."""
INTEREST_EVERY = timedelta(seconds=3)
INTEREST_LASTS = timedelta(seconds=10)


class Hints(Protocol):
    """Words between replicas: at most once, never stored."""

    def publish(self, subject: str, payload: bytes) -> None:
        """Send a word; returns at once, whether or not anybody can be reached."""
        ...

    def subscribed(self, pattern: str, callback: Callable[[str, bytes], None]) -> AbstractContextManager[None]:
        """Call `callback(subject, payload)` for each word on `pattern` (NATS wildcards), until the answer is left."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrivals:
    """What reached a watcher since it last took."""

    events: Sequence[LoggedEvent]
    """In order; after a gap the rows tell the rest."""
    known_sequence: int
    """The run has at least so many events."""
    ended: RunSnapshot | None
    """The run as its last event left it, where that event was announced by this replica."""
    progress: RunProgress | None
    preview: RunPreview | None


class RunWatcher:
    """One watcher's place in the feed; a context manager of `RunFeed.watch` ends it."""

    def __init__(self, *, progress: bool, previews: bool) -> None:
        self.wants_progress = progress
        self.wants_previews = previews
        self._events: deque[LoggedEvent] = deque(maxlen=EVENTS_KEPT)
        self._known_sequence = 0
        self._ended: RunSnapshot | None = None
        self._progress: RunProgress | None = None
        self._preview: RunPreview | None = None
        self._arrived = asyncio.Event()

    async def wait(self, timeout: timedelta) -> bool:
        """True when something arrived, False when the time is up."""
        return await _wait(self._arrived, timeout)

    def take(self) -> Arrivals:
        """What arrived since the last call."""
        arrivals = Arrivals(
            events=tuple(self._events),
            known_sequence=self._known_sequence,
            ended=self._ended,
            progress=self._progress,
            preview=self._preview,
        )
        self._events.clear()
        self._progress = self._preview = None
        self._arrived.clear()
        return arrivals

    def give_events(self, events: Sequence[LoggedEvent], ended: RunSnapshot | None) -> None:
        """Queue events; the oldest go when there are too many, which the watcher sees as a gap."""
        self._events.extend(events)
        self._ended = ended or self._ended
        self.give_sequence(events[-1].sequence)

    def give_sequence(self, sequence: int) -> None:
        """Say how many events the run has."""
        self._known_sequence = max(self._known_sequence, sequence)
        self._arrived.set()

    def give_progress(self, progress: RunProgress) -> None:
        """Replace the progress that was not taken."""
        if self.wants_progress:
            self._progress = progress
            self._arrived.set()

    def give_preview(self, preview: RunPreview) -> None:
        """Replace the preview that was not taken."""
        if self.wants_previews:
            self._preview = preview
            self._arrived.set()


class ChangeWatcher:
    """The place of somebody who watches all runs: ids of runs that changed, each once until taken."""

    def __init__(self) -> None:
        self._run_ids: dict[str, None] = {}
        self._arrived = asyncio.Event()

    async def wait(self, timeout: timedelta) -> bool:
        """True when a run changed, False when the time is up."""
        return await _wait(self._arrived, timeout)

    def take(self) -> list[str]:
        """Runs, of whatever team, that changed since the last call."""
        run_ids = list(self._run_ids)
        self._run_ids.clear()
        self._arrived.clear()
        return run_ids

    def give(self, run_id: str) -> None:
        """Note a changed run."""
        self._run_ids[run_id] = None
        self._arrived.set()


class RunFeed:
    """The watchers of this replica, and its voice to the others."""

    def __init__(self, *, hints: Hints, announced: Callable[[], None] | None = None) -> None:
        """`announced` is called after each announcement: something was committed that other rooms are told of."""
        self._hints = hints
        self._announced = announced
        self._replica = new_id()
        self._watchers: dict[str, list[RunWatcher]] = {}
        self._change_watchers: list[ChangeWatcher] = []
        self._wanted_until: dict[str, float] = {}
        self._interest_listeners: list[Callable[[str], None]] = []

    @contextmanager
    def watch(self, run_id: str, *, progress: bool = True, previews: bool = False) -> Iterator[RunWatcher]:
        """A place among the watchers of a run, which may not exist yet."""
        watcher = RunWatcher(progress=progress, previews=previews)
        self._watchers.setdefault(run_id, []).append(watcher)
        if previews:
            self._say_interest(run_id)
        try:
            yield watcher
        finally:
            watchers = self._watchers[run_id]
            watchers.remove(watcher)
            if not watchers:
                del self._watchers[run_id]

    @contextmanager
    def watch_changes(self) -> Iterator[ChangeWatcher]:
        """A place among those who watch all runs."""
        watcher = ChangeWatcher()
        self._change_watchers.append(watcher)
        try:
            yield watcher
        finally:
            self._change_watchers.remove(watcher)

    def announce(self, run_id: str, events: Sequence[LoggedEvent], *, terminal_run: RunSnapshot | None = None) -> None:
        """Tell everybody of events that were committed; `terminal_run` spares the local watchers a read at the end."""
        if not events:
            return
        for watcher in self._watchers.get(run_id, ()):
            watcher.give_events(events, terminal_run)
        for change_watcher in self._change_watchers:
            change_watcher.give(run_id)
        word = {"sequence": events[-1].sequence, "replica": self._replica}
        self._hints.publish(f"run.{run_id}", json.dumps(word).encode())
        if self._announced is not None:
            self._announced()

    def progress(self, run_id: str, progress: RunProgress) -> None:
        """Pass on how far a run is."""
        for watcher in self._watchers.get(run_id, ()):
            watcher.give_progress(progress)
        word = {"progress": progress.to_json(), "replica": self._replica}
        self._hints.publish(f"progress.{run_id}", json.dumps(word).encode())

    def preview(self, run_id: str, preview: RunPreview) -> None:
        """Pass on a picture."""
        for watcher in self._watchers.get(run_id, ()):
            watcher.give_preview(preview)
        head = {
            "attempt": preview.attempt,
            "node_id": preview.node_id,
            "media_type": preview.media_type,
            "number": preview.number,
            "replica": self._replica,
        }
        self._hints.publish(f"preview.{run_id}", json.dumps(head).encode() + b"\n" + preview.image)

    def preview_wanted(self, run_id: str) -> bool:
        """Whether somebody, here or elsewhere, watches the run's previews or did within the last ten seconds."""
        until = self._wanted_until.get(run_id)
        return (until is not None and until > _now()) or self._wanted_here(run_id)

    def when_preview_wanted(self, listener: Callable[[str], None]) -> None:
        """Call `listener(run_id)` whenever somebody begins to want a run's previews."""
        self._interest_listeners.append(listener)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear other replicas, meanwhile."""
        with ExitStack() as stack:
            for pattern, callback in (
                ("run.*", self._hear_events),
                ("progress.*", self._hear_progress),
                ("preview.*", self._hear_preview),
                ("watching.*", self._hear_interest),
            ):
                stack.enter_context(self._hints.subscribed(pattern, callback))
            yield

    async def keep_interest(self) -> None:
        """Repeat, for ever, which runs' previews are watched here; forget what others no longer repeat."""
        while True:
            await asyncio.sleep(INTEREST_EVERY.total_seconds())
            for run_id in [run_id for run_id in self._watchers if self._wanted_here(run_id)]:
                self._say_interest(run_id)
            now = _now()
            self._wanted_until = {run_id: until for run_id, until in self._wanted_until.items() if until > now}

    def _wanted_here(self, run_id: str) -> bool:
        return any(watcher.wants_previews for watcher in self._watchers.get(run_id, ()))

    def _say_interest(self, run_id: str) -> None:
        self._note_interest(run_id)
        self._hints.publish(f"watching.{run_id}", json.dumps({"replica": self._replica}).encode())

    def _note_interest(self, run_id: str) -> None:
        is_new = not (self._wanted_until.get(run_id, 0.0) > _now())
        self._wanted_until[run_id] = _now() + INTEREST_LASTS.total_seconds()
        if is_new:
            for listener in self._interest_listeners:
                listener(run_id)

    def _hear_events(self, subject: str, payload: bytes) -> None:
        run_id = _run_of(subject)
        if not self._change_watchers and run_id not in self._watchers:
            return
        word = json.loads(payload)
        if word["replica"] == self._replica:
            return
        for watcher in self._watchers.get(run_id, ()):
            watcher.give_sequence(word["sequence"])
        for change_watcher in self._change_watchers:
            change_watcher.give(run_id)

    def _hear_progress(self, subject: str, payload: bytes) -> None:
        watchers = self._watchers.get(_run_of(subject))
        if not watchers:
            return
        word = json.loads(payload)
        if word["replica"] != self._replica:
            progress = RunProgress.from_json(word["progress"])
            for watcher in watchers:
                watcher.give_progress(progress)

    def _hear_preview(self, subject: str, payload: bytes) -> None:
        watchers = self._watchers.get(_run_of(subject))
        if not watchers:
            return
        head, _, image = payload.partition(b"\n")
        word = json.loads(head)
        if word.pop("replica") != self._replica:
            preview = RunPreview(image=image, **word)
            for watcher in watchers:
                watcher.give_preview(preview)

    def _hear_interest(self, subject: str, payload: bytes) -> None:
        if json.loads(payload)["replica"] != self._replica:
            self._note_interest(_run_of(subject))


async def _wait(arrived: asyncio.Event, timeout: timedelta) -> bool:
    if arrived.is_set():
        return True
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            return await arrived.wait()
    except TimeoutError:
        return False


def _run_of(subject: str) -> str:
    return subject.rpartition(".")[2]


def _now() -> float:
    return asyncio.get_running_loop().time()
