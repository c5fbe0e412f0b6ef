"""One execution at one ComfyUI (A6 to A12)."""

import asyncio
import json
from dataclasses import replace
from typing import Any, Protocol

from services.common.ids import new_id
from services.common.json_bytes import InvalidJson, parse_json
from services.dispatcher.drivers.comfyui.collecting import OutputCollector
from services.dispatcher.drivers.comfyui.failure import storable
from services.dispatcher.drivers.comfyui.frames import Frame
from services.dispatcher.drivers.comfyui.grafting import Graft, classes_of, frame_nodes, grafted
from services.dispatcher.drivers.comfyui.hearing import Hearing
from services.dispatcher.drivers.comfyui.history import End, HistoryEntry, interpret
from services.dispatcher.drivers.comfyui.outputs import TooManyOutputs, entries_of
from services.dispatcher.drivers.comfyui.progress import ProgressTracker
from services.dispatcher.drivers.comfyui.queue import MARK, QueueItem, QueueReading
from services.dispatcher.drivers.comfyui.refusal import ending_of_refusal
from services.dispatcher.drivers.comfyui.site import Site
from services.dispatcher.drivers.driver import Assignment, BackendAway, ExecutionEnded, Observer
from services.dispatcher.model.desired import ExecutionInput
from services.dispatcher.model.ending import Ending, Outcome, ended

_SOCKET_PATIENCE = 2.0
"""How long a submission waits for the socket; without one the end is found by polling."""
_MAX_JSON_BYTES = 16 * 1024 * 1024
_LARGE_GRAPH_BYTES = 512 * 1024
"""From here a graph is written in a thread, so that it does not hold up the others."""

Json = dict[str, Any]


class Home(Protocol):
    """The backend of an execution."""

    def poke(self) -> None:
        """Read the queue soon."""
        ...

    def remove(self, prompt_id: str) -> None:
        """Take a prompt out, in the background."""
        ...

    def recall(self, prompt_id: str) -> None:
        """Take a prompt out if it only waits."""
        ...

    def listen_as(self, client_id: str) -> None:
        """Hear the frames of an adopted prompt, which go to another client id (A9)."""
        ...

    async def socket_opened(self) -> None:
        """Return once frames can be heard."""
        ...


class ComfyExecution:
    """Drives one prompt; `heard` and `seen` are called by the backend's tasks and never wait."""

    def __init__(self, *, assignment: Assignment, observer: Observer, site: Site, home: Home) -> None:
        self._assignment = assignment
        self._spec = assignment.spec
        self._observer = observer
        self._site = site
        self._home = home
        self.graph = graph = parse_object(assignment.spec.graph_json)
        self._names: dict[ExecutionInput, str] = {}
        self._tracker = ProgressTracker(classes_of(graph), stopwatch=site.stopwatch)
        self._collector = OutputCollector(
            key=assignment.key,
            client=site.client,
            files=site.files,
            observer=observer,
            max_bytes=self._spec.max_output_bytes,
            slots=site.slots,
        )
        self._hearing = Hearing(
            observer=observer,
            tracker=self._tracker,
            collector=self._collector,
            frame_nodes=frame_nodes(graph),
            on_end=self._null,
        )
        self._stirred = asyncio.Event()
        self._submitted_at: float | None = None
        self._breaks = site.breaks
        self._absent = False
        self._has_left = False
        self._again = False
        self._instead: Ending | None = None
        self._recalled: Ending | None = None

    # ------------------------------------------------------------------ its life
    async def find(self) -> bool:
        """Queue first, then history: the other order misses prompts that end in between (A6)."""
        reading = await self._site.client.queue()
        item = reading.items.get(self._spec.prompt_id)
        if item is not None:
            self._adopt(reading.asked_at, item)
            return True
        if await self._site.client.history(self._spec.prompt_id) is None:
            return False
        self._adopt(reading.asked_at, None)
        self._absent = True
        self._stirred.set()
        return True

    async def stage(self) -> None:
        """Bring the inputs over."""
        if self._spec.inputs:
            self._names = await self._site.uploader.bring(
                self._spec.inputs, literals=self._literal, observer=self._observer
            )

    async def submit(self) -> None:
        """POST the prompt under its own id; frames may come before the answer."""
        body = await self._body(self._spec.cache_salt)
        try:
            async with asyncio.timeout(_SOCKET_PATIENCE):
                await self._home.socket_opened()
        except TimeoutError:
            self._home.poke()
        self._breaks = self._site.breaks
        await self._post(body)

    async def follow(self) -> Ending:
        """See the class; ends also when the backend forgot the prompt."""
        while True:
            entry = await self._ended()
            self._leave()
            if entry is None:
                return self._gone()
            ending = await self._conclude(entry)
            if ending is not None:
                return ending
            # An output that the backend named is not there: once more under a new salt, never a success (A12).
            self._again = True
            self._collector.forget_lost()
            try:
                if not self._names:
                    await self.stage()  # an adopted prompt was staged by another session
                await self._post(await self._body(f"{self._spec.cache_salt}.{new_id()}"))
            except (BackendAway, ExecutionEnded):
                return self._output_lost()

    def stop(self, instead: Ending) -> None:
        """Begin the cancel loop (A8), once."""
        if self._instead is None:
            self._instead = instead
            self._home.remove(self._spec.prompt_id)

    def recall(self, instead: Ending) -> None:
        """Take the prompt out if it only waits."""
        self._recalled = instead
        self._home.recall(self._spec.prompt_id)

    async def close(self) -> None:
        """End the execution's tasks; the prompt stays where it is."""
        await self._collector.close()

    # ------------------------------------------------------------------ what the backend's tasks tell
    def heard(self, frame: Frame, raw: str | bytes) -> None:
        """A frame about this prompt."""
        self._observer.confirmed()
        self._hearing.heard(frame, raw)

    def seen(self, reading: QueueReading) -> None:
        """The queue was read; only one asked for after the submission can show an absence."""
        item = reading.items.get(self._spec.prompt_id)
        if item is not None:
            self._observer.confirmed()
            if item.running:
                self._hearing.started(said_so=False)
        elif self._submitted_at is not None and reading.asked_at > self._submitted_at:
            self._absent = True
            self._stirred.set()

    # ------------------------------------------------------------------ steps
    def _adopt(self, asked_at: float, item: QueueItem | None) -> None:
        self._submitted_at = asked_at
        self._observer.confirmed()
        if item is None:
            return
        if item.running:
            self._hearing.started(said_so=False)
        if item.client_id and item.client_id != self._site.client_id:
            self._home.listen_as(item.client_id)

    async def _body(self, salt: str) -> bytes:
        spec = self._spec
        graft = Graft(
            output_prefix=spec.output_prefix,
            cache_salt=salt,
            salt_all=self._again,
            output_classes=self._site.output_classes,
            names=self._names,
        )
        extra_data: Json = parse_object(spec.extra_data_json) if spec.extra_data_json else {}
        key = self._assignment.key
        mark = {"fleet": self._assignment.fleet_id, "run_id": key.run_id, "attempt": key.attempt}
        extra_data.update(spec.secrets)
        extra_data[MARK] = mark

        def write() -> bytes:
            prompt = {
                "prompt": grafted(self.graph, graft),
                "prompt_id": spec.prompt_id,
                "client_id": self._site.client_id,
                "extra_data": extra_data,
            }
            return json.dumps(prompt).encode()

        return write() if len(spec.graph_json) < _LARGE_GRAPH_BYTES else await asyncio.to_thread(write)

    async def _post(self, body: bytes) -> None:
        # A reading from before says nothing about a prompt that is submitted again under its id.
        self._submitted_at = None
        self._absent = False
        self._stirred.clear()
        self._has_left = False
        self._hearing.expect()
        try:
            answer = await self._site.client.submit(body)
        except BackendAway as away:
            self._home.poke()
            if not (away.unanswered and self._hearing.is_about_it):
                raise
        else:
            if answer.status != 200:
                raise ExecutionEnded(self._refusal(answer.status, answer.body))
            if answer.body.get("node_errors"):
                # Accepted in part, which is a refusal too (A11).
                self._home.remove(self._spec.prompt_id)
                raise ExecutionEnded(self._refusal(answer.status, answer.body))
            number = answer.body.get("number")
            self._notice(number if isinstance(number, int | float) else None)
        self._submitted_at = self._site.stopwatch()
        self._observer.confirmed()

    def _notice(self, number: float | None) -> None:
        """A number below the last one shows that the backend has begun again (PROTOCOL.md §6)."""
        if number is not None:
            if number < self._site.last_number:
                self._site.breaks += 1
                self._home.poke()
            self._site.last_number = number

    def _refusal(self, status: int, body: Json) -> Ending:
        return ending_of_refusal(status, body, graph=self.graph, known_classes=self._site.known_classes)

    def _null(self) -> None:
        """`executing` null: the one frame that follows every kind of end; the history was written before it (A10)."""
        self._leave()
        self._stirred.set()

    def _leave(self) -> None:
        if not self._has_left:
            self._has_left = True
            self._observer.left()

    async def _ended(self) -> HistoryEntry | None:
        """The entry of the ended prompt; None: it is in neither list."""
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            absent = self._absent
            try:
                entry = await self._site.client.history(self._spec.prompt_id)
            except BackendAway:
                # The next reading of the queue stirs again.
                self._home.poke()
                continue
            if entry is not None:
                self._observer.confirmed()
                return interpret(entry)
            if absent:
                return None
            self._home.poke()

    async def _conclude(self, entry: HistoryEntry) -> Ending | None:
        """The ending, once all outputs are stored; None: an output is lost and the prompt may be tried again."""
        self._collector.cached(frozenset(entry.cached_nodes))
        try:
            for node_id, ui in entry.outputs.items():
                self._collector.add(entries_of(node_id, ui))
        except TooManyOutputs:
            message = "A node lists more outputs than are taken."
            return self._told(ended(Outcome.FAILED, "TOO_MANY_OUTPUTS", message), entry)
        await self._collector.finish()
        if entry.end is End.ERROR:
            return self._told(Ending(outcome=Outcome.FAILED, failure=entry.failure), entry)
        if entry.end is End.INTERRUPTED:
            return self._told(self._instead or _by_others("The prompt was interrupted by somebody else."), entry)
        if self._hearing.too_many:
            message = "A node lists more outputs than are taken."
            return self._told(ended(Outcome.FAILED, "TOO_MANY_OUTPUTS", message), entry)
        if self._collector.refused is not None:
            refused = self._collector.refused
            outcome = ended(Outcome.FAILED, refused.code, refused.message, retryable=refused.retryable)
            return self._told(outcome, entry)
        if self._collector.lost:
            return self._told(self._output_lost(), entry) if self._again else None
        if self._hearing.missed_frames(entry.output_nodes):
            return self._told(self._output_lost(), entry)
        return self._told(Ending(outcome=Outcome.SUCCEEDED), entry)

    def _told(self, ending: Ending, entry: HistoryEntry) -> Ending:
        return replace(
            ending,
            execution=entry.execution,
            cached_nodes=tuple(storable(node[:256]) for node in entry.cached_nodes[:10_000]),
            node_timings=self._tracker.timings(),
        )

    def _gone(self) -> Ending:
        """In neither list: removed while it waited, or forgotten by a backend that began again."""
        if self._instead is not None or self._recalled is not None:
            return self._instead or self._recalled or self._output_lost()
        if self._breaks == self._site.breaks and not self._hearing.is_about_it:
            return _by_others("The prompt was removed from the backend's queue by somebody else.")
        return ended(Outcome.LOST, "BACKEND_MEMORY", "The backend no longer knows the prompt.", retryable=True)

    def _output_lost(self) -> Ending:
        return ended(Outcome.OUTPUT_LOST, "OUTPUT_LOST", "An output is not at the backend any more.", retryable=True)

    def _literal(self, wanted: ExecutionInput) -> str:
        node = self.graph.get(wanted.node_id)
        inputs = node.get("inputs") if isinstance(node, dict) else None
        value = inputs.get(wanted.path) if isinstance(inputs, dict) else None
        return value if isinstance(value, str) else ""


def parse_object(content: bytes) -> Json:
    """Graph and extra data are objects. Raises ExecutionEnded for what is none."""
    try:
        value = parse_json(content, max_bytes=_MAX_JSON_BYTES, max_depth=256)
    except InvalidJson as error:
        raise ExecutionEnded(ended(Outcome.INVALID, "GRAPH_NOT_JSON", error.message)) from error
    if not isinstance(value, dict):
        raise ExecutionEnded(ended(Outcome.INVALID, "GRAPH_NOT_AN_OBJECT", "A graph is an object of nodes by id."))
    return value


def _by_others(message: str) -> Ending:
    return ended(Outcome.INTERRUPTED, "INTERRUPTED_BY_OTHERS", message, retryable=True)
