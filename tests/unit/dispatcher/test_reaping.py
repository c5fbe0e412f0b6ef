"""The cancel loop before a backend whose prompt does not stop (A8)."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from services.dispatcher.drivers.comfyui.client import ComfyClient
from services.dispatcher.drivers.comfyui.queue import QueueItem, QueueReading
from services.dispatcher.drivers.comfyui.reaping import Reaper
from services.dispatcher.drivers.comfyui.site import Site
from services.dispatcher.drivers.comfyui.upload import InputUploader
from services.dispatcher.drivers.driver import BackendAddress
from tests.servers.driver_rig import MemoryFiles

PROMPT = "b6a0"


class StubbornClient(ComfyClient):
    """A backend with one prompt, which runs until it is told to let go."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        address = BackendAddress(local_key="x", url="http://127.0.0.1:9")
        super().__init__(address=address, session=session, stopwatch=time.monotonic)
        self.holds = True
        self.interrupted: list[str] = []
        self.asked = asyncio.Event()

    async def delete_pending(self, prompt_id: str) -> None:
        self.asked.set()

    async def interrupt(self, prompt_id: str, *, by_jobs: bool) -> None:
        self.interrupted.append(prompt_id)

    async def read(self) -> QueueReading:
        """The queue."""
        item = QueueItem(number=0, prompt_id=PROMPT, running=True, client_id="", mark=None)
        return QueueReading(asked_at=0.0, items={PROMPT: item} if self.holds else {}, count=1)


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("interrupt", "stays"), [(True, True), (False, False)], ids=["cancel", "recall"])
async def test_running_prompt_is_interrupted_until_it_left_and_is_stuck_after_a_minute(
    interrupt: bool, stays: bool
) -> None:
    async with aiohttp.ClientSession() as session:
        client, clock, left = StubbornClient(session), Clock(), asyncio.Event()
        files: Any = MemoryFiles()
        site = Site(
            client=client,
            uploader=InputUploader(client=client, files=files),
            files=files,
            stopwatch=clock,
            client_id="c",
            slots=asyncio.Semaphore(1),
        )
        reaper = Reaper(site=site, read=client.read, changed=lambda: left.set() if not reaper.prompt_ids() else None)
        reaper.remove(PROMPT, interrupt=interrupt)
        async with asyncio.timeout(5):
            await client.asked.wait()
            if not stays:
                await left.wait()  # RECALL lets a running prompt be
                assert client.interrupted == []
                return
            assert reaper.stuck() == ""
            clock.now = 61.0
            assert reaper.stuck() == PROMPT
            client.asked.clear()
            await client.asked.wait()  # it goes on trying
            client.holds = False
            await left.wait()
        assert set(client.interrupted) == {PROMPT}
        assert reaper.stuck() == ""
        await reaper.close()
