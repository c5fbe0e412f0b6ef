"""What the executions of one backend share."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from services.dispatcher.drivers.comfyui.client import ComfyClient
from services.dispatcher.drivers.comfyui.frames import Frame
from services.dispatcher.drivers.comfyui.queue import QueueReading
from services.dispatcher.drivers.comfyui.upload import InputUploader
from services.dispatcher.drivers.driver import Files, Stopwatch


@dataclass(kw_only=True)
class Site:
    """One backend, as its executions see it."""

    client: ComfyClient
    uploader: InputUploader
    files: Files
    stopwatch: Stopwatch
    client_id: str
    """Of this session's socket (A9)."""
    slots: asyncio.Semaphore
    """How many outputs are brought over at a time."""
    known_classes: frozenset[str] = frozenset()
    output_classes: frozenset[str] = frozenset()
    has_jobs: bool = False
    breaks: int = 0
    """How often the socket broke: prompts that vanish with a break were lost, others were removed by somebody."""
    last_number: float = -1
    """Highest queue number that the backend gave; a lower one shows a restart."""


class Follower(Protocol):
    """An execution, as its backend tells it what it hears."""

    def heard(self, frame: Frame, raw: str | bytes) -> None:
        """A frame about its prompt."""
        ...

    def seen(self, reading: QueueReading) -> None:
        """The queue, with or without its prompt."""
        ...
