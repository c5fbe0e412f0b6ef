"""One ComfyUI: keeps in touch, tells its executions what it hears, and says how it is (A4, A6, A8, A9).

How it comes up, and comes back, in this order:
1. `/system_stats`, for version and devices.
2. Whether it remembers the prompt that ended last; if not, it is a new incarnation: `/object_info` once.
3. The socket opens.
4. `/queue`, then `/history`: from now on it is recovered and takes work.
Then `/queue` is read every second while there is work and every five while there is none.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import structlog

from services.common.ids import new_id
from services.dispatcher.drivers.comfyui.catalogue import Catalogue, read_catalogue
from services.dispatcher.drivers.comfyui.client import BackendNonsense, ComfyClient
from services.dispatcher.drivers.comfyui.ears import Ears
from services.dispatcher.drivers.comfyui.execution import ComfyExecution
from services.dispatcher.drivers.comfyui.failure import storable
from services.dispatcher.drivers.comfyui.frames import Frame, MessageFrame, PictureFrame, StatusFrame
from services.dispatcher.drivers.comfyui.grafting import models_of
from services.dispatcher.drivers.comfyui.queue import QueueReading
from services.dispatcher.drivers.comfyui.reaping import Reaper
from services.dispatcher.drivers.comfyui.site import Site
from services.dispatcher.drivers.comfyui.socket import ComfySocket
from services.dispatcher.drivers.comfyui.stats import devices_of, version_of
from services.dispatcher.drivers.comfyui.upload import InputUploader
from services.dispatcher.drivers.driver import (
    LONG_AGO,
    Assignment,
    BackendAddress,
    BackendAway,
    BackendListener,
    Files,
    Observer,
    Stopwatch,
)
from services.dispatcher.model.execution import Orphan
from services.dispatcher.model.runner import BackendState, Device, Health

_BUSY_PAUSE = 1.0
_IDLE_PAUSE = 5.0
_LEAST_PAUSE = 0.02
_LONGEST_AWAY_PAUSE = 2.0
_SLOW_ANSWER = 15.0
"""A node that holds the interpreter delays every answer: only after so long is that an absence."""
_SOCKET_PATIENCE = 2.0
_OUTPUT_SLOTS = 8
_WARM_MODELS = 16

log = structlog.get_logger()


class ComfyBackend:
    """Drives one ComfyUI."""

    runtime = "comfyui"

    def __init__(
        self,
        *,
        address: BackendAddress,
        session: aiohttp.ClientSession,
        files: Files,
        listener: BackendListener,
        stopwatch: Stopwatch,
    ) -> None:
        self.address = address
        self._stopwatch = stopwatch
        self._listener = listener
        client = ComfyClient(address=address, session=session, stopwatch=stopwatch)
        self._site = Site(
            client=client,
            uploader=InputUploader(client=client, files=files),
            files=files,
            stopwatch=stopwatch,
            client_id=new_id(),
            slots=asyncio.Semaphore(_OUTPUT_SLOTS),
        )
        self._client = client
        self._reaper = Reaper(site=self._site, read=self._read_queue, changed=listener.backend_changed)
        self._ears = Ears(
            address=address,
            client_id=self._site.client_id,
            stopwatch=stopwatch,
            on_frame=self._heard,
            on_break=self._broke,
        )
        self._executions: dict[str, ComfyExecution] = {}
        self._released: dict[str, float] = {}
        self._reading: QueueReading | None = None
        self._fleet_id = ""
        self._ready = asyncio.Event()
        self._poked = asyncio.Event()
        self._suspect = False
        self._refused = False
        self._reason = "It has not answered yet."
        self._unhealthy = ""
        self._incarnation = ""
        self._witness = ""
        self._catalogue: Catalogue | None = None
        self._version = ""
        self._devices: tuple[Device, ...] = ()
        self._foreign = 0
        self._warm_models: list[str] = []

    # ------------------------------------------------------------------ what the reconciler asks
    async def run(self) -> None:
        """Keep in touch until cancelled; the socket and the reading of the queue are two tasks."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._ears.run(), name=f"comfyui-socket-{self.address.local_key}")
                group.create_task(self._watch(), name=f"comfyui-watch-{self.address.local_key}")
        finally:
            await self._reaper.close()

    def state(self) -> BackendState:
        """See Backend."""
        now = self._stopwatch()
        heard = [at for at in (self._client.answered_at, *self._ears.heard_at()) if at is not None]
        stuck = self._reaper.stuck()
        if not self._ready.is_set():
            health, reason = (Health.UNHEALTHY, self._unhealthy) if self._unhealthy else (Health.OFFLINE, self._reason)
        elif stuck:
            health, reason = Health.UNHEALTHY, f"The prompt {stuck} does not stop."
        else:
            health, reason = Health.HEALTHY, ""
        return BackendState(
            health=health,
            health_reason=reason,
            recovered=self._ready.is_set(),
            incarnation=self._incarnation,
            observed_age=timedelta(seconds=max(0.0, now - max(heard))) if heard else LONG_AGO,
            capabilities_hash=self._catalogue.hash if self._catalogue else "",
            version=self._version,
            devices=self._devices,
            foreign_prompts=self._foreign,
            warm_models=tuple(self._warm_models),
            reaping=tuple(storable(prompt_id[:256]) for prompt_id in self._reaper.prompt_ids()),
        )

    @property
    def is_ready(self) -> bool:
        """See Backend."""
        return self._ready.is_set()

    async def ready(self) -> None:
        """See Backend."""
        await self._ready.wait()

    @asynccontextmanager
    async def execution(self, assignment: Assignment, observer: Observer) -> AsyncIterator[ComfyExecution]:
        """See Backend. Raises ExecutionEnded for a graph that is none."""
        prompt_id = assignment.spec.prompt_id
        execution = ComfyExecution(
            assignment=assignment,
            observer=observer,
            site=self._site,
            home=self,
        )
        self._executions[prompt_id] = execution
        try:
            yield execution
            newest = dict.fromkeys([*models_of(execution.graph), *self._warm_models])
            self._warm_models = list(newest)[:_WARM_MODELS]
        finally:
            self._executions.pop(prompt_id, None)
            self._released[prompt_id] = self._stopwatch()
            await execution.close()

    def orphans(self) -> tuple[Orphan, ...]:
        """See Backend."""
        reading = self._reading
        if reading is None or not self._fleet_id:
            return ()
        return tuple(
            Orphan(key=item.mark.key, prompt_id=item.prompt_id, running=item.running)
            for item in reading.items.values()
            if item.mark is not None
            and item.mark.fleet_id == self._fleet_id
            and item.prompt_id not in self._executions
            and self._released.get(item.prompt_id, -1.0) < reading.asked_at
        )

    def remove(self, prompt_id: str) -> None:
        """See Backend."""
        self._reaper.remove(prompt_id)

    def recall(self, prompt_id: str) -> None:
        """Take a prompt out if it only waits (A18)."""
        self._reaper.remove(prompt_id, interrupt=False)

    def adopt_fleet(self, fleet_id: str) -> None:
        """See Backend."""
        if fleet_id != self._fleet_id:
            self._fleet_id = fleet_id
            self.poke()

    def catalogue(self, capabilities_hash: str) -> bytes | None:
        """See Backend."""
        held = self._catalogue
        return held.content if held is not None and held.hash == capabilities_hash else None

    # ------------------------------------------------------------------ what its executions ask
    def poke(self) -> None:
        """Read the queue soon."""
        self._poked.set()

    async def socket_opened(self) -> None:
        """Return once frames can be heard."""
        await self._ears.opened()

    def listen_as(self, client_id: str) -> None:
        """Hear the frames of an adopted prompt on a socket of its own, until no prompt of that id is left (A9)."""
        self._ears.listen_as(client_id)

    # ------------------------------------------------------------------ frames
    def _heard(self, socket: ComfySocket, frame: Frame, raw: str | bytes) -> None:
        if isinstance(frame, StatusFrame):
            if frame.queue_remaining > len(self._executions) or self._foreign:
                # A stranger's prompt came or went.
                self.poke()
            return
        if isinstance(frame, MessageFrame | PictureFrame) and frame.prompt_id:
            socket.current_prompt = frame.prompt_id
        execution = self._executions.get(socket.current_prompt)
        if execution is not None:
            execution.heard(frame, raw)

    def _broke(self) -> None:
        self._site.breaks += 1
        self._suspect = True
        self.poke()

    # ------------------------------------------------------------------ the watch
    async def _watch(self) -> None:
        away_pause = 0.1
        while True:
            try:
                if self._suspect or not self._ready.is_set():
                    await self._recover()
                else:
                    await self._read_queue()
                away_pause = 0.1
                busy = bool(self._executions or self._foreign or self._reaper.prompt_ids())
                pause = _BUSY_PAUSE if busy else _IDLE_PAUSE
            except BackendAway as away:
                self._missed(away)
                pause, away_pause = away_pause, min(away_pause * 2, _LONGEST_AWAY_PAUSE)
                self._poked.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._poked.wait()
                await asyncio.sleep(_LEAST_PAUSE)
            except TimeoutError:
                pass
            self._poked.clear()

    def _missed(self, away: BackendAway) -> None:
        """No answer: at once an absence if the connection was refused, later if the answer is only slow."""
        last = self._client.answered_at
        slow = "Timeout" in away.reason and last is not None and self._stopwatch() - last < _SLOW_ANSWER
        if slow and self._ready.is_set():
            return
        self._refused = True
        self._unhealthy = away.reason if isinstance(away, BackendNonsense) else ""
        if self._ready.is_set() or self._reason != away.reason:
            log.warning("backend_away", backend=self.address.local_key, reason=away.reason)
            self._reason = away.reason
            self._ready.clear()
            self._listener.backend_changed()

    async def _recover(self) -> None:
        """See the module. A break of the socket alone keeps it ready while the queue is read again."""
        stats = await self._client.system_stats()
        if self._catalogue is None or await self._forgot():
            await self._begin_again()
        self._version, self._devices = version_of(stats), devices_of(stats)
        try:
            async with asyncio.timeout(_SOCKET_PATIENCE):
                await self._ears.opened()
        except TimeoutError:
            log.warning("backend_socket_closed", backend=self.address.local_key)
        self._suspect = False
        reading = await self._client.queue()
        self._witness = await self._client.latest_history()
        self._refused = False
        self._unhealthy = ""
        if not self._ready.is_set():
            log.info("backend_recovered", backend=self.address.local_key, version=self._version)
            self._ready.set()
        self._saw(reading)
        self._listener.backend_changed()

    async def _forgot(self) -> bool:
        """Whether the backend began again since it was last read: its history is the only witness (PROTOCOL.md §6)."""
        if self._witness:
            return await self._client.history(self._witness) is None
        return self._refused

    async def _begin_again(self) -> None:
        answer = await self._client.object_info()
        try:
            # Half a megabyte and more: parsed and written in a thread.
            self._catalogue = await asyncio.to_thread(read_catalogue, answer)
        except (ValueError, RecursionError) as error:
            raise BackendNonsense(f"/object_info is not readable: {error}") from error
        self._site.known_classes = self._catalogue.classes
        self._site.output_classes = self._catalogue.output_classes
        self._site.has_jobs = await self._client.has_jobs()
        self._site.last_number = -1
        self._site.breaks += 1
        self._site.uploader.forget()
        self._site.uploader.max_bytes = await self._client.max_upload_bytes()
        self._incarnation = new_id()
        self._warm_models = []
        self._witness = ""

    async def _read_queue(self) -> QueueReading:
        reading = await self._client.queue()
        self._saw(reading)
        return reading

    def _saw(self, reading: QueueReading) -> None:
        self._reading = reading
        ours = [item for item in reading.items.values() if item.mark and item.mark.fleet_id == self._fleet_id]
        foreign = reading.count - len(ours)
        if foreign != self._foreign or self.orphans():
            self._foreign = foreign
            self._listener.backend_changed()
        for execution in tuple(self._executions.values()):
            execution.seen(reading)
        self._released = {key: at for key, at in self._released.items() if at > reading.asked_at}
        self._ears.keep(reading)
