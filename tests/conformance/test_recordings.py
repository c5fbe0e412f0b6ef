"""The stand-in behaves as a real ComfyUI server was recorded to behave."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.standin.knobs import Knobs
from services.standin.server import open_standin
from tests.conformance.recorded_nodes import recorded_nodes
from tests.conformance.recording import Recording, canonical, load, traces
from tests.conformance.replay import Replay

SCENARIOS = (
    "01-simple-success",
    "01b-scale-subfolder",
    "02-upload-loadimage",
    "03-cached",
    "03b-cached-without-ui",
    "04-multi-output",
    "05-progress-preview",
    "06-validation",
    "07-execution-error",
    "07b-blocked-and-lazy",
    "08-interrupt-and-queue-delete",
    "09-queueing",
    "09b-extra-data",
    "10-two-clients-and-reconnect",
    "11-server-death",
    "12-endpoints",
)
NODE_SECONDS = 0.03
"""Slow enough for a request to come in while a node works, as it did when recorded."""
WITHOUT_EXCHANGES = {"10b-stalled-client", "15-queue-size"}
"""Summaries: what they say is tried in test_summaries.py."""


@pytest.fixture
def recordings() -> Path:
    """The directory of recordings."""
    folder = traces()
    if folder is None:
        pytest.skip("COMFYUI_TRACES names no directory with recordings of a ComfyUI server")
    return folder


class Standin:
    """A stand-in that can die and come back on its port and folder."""

    def __init__(self, recording: Recording, folder: Path) -> None:
        self._order = recorded_order(recording)
        self._folder = folder
        self._life = AsyncExitStack()
        self._port = 0
        self._url = ""

    async def start(self) -> str:
        """Lets it serve, if it does not."""
        if not self._url:
            server = await self._life.enter_async_context(
                open_standin(
                    folder=self._folder,
                    port=self._port,
                    knobs=Knobs(node_latency=NODE_SECONDS),
                    extra_nodes=recorded_nodes(),
                    order_outputs=self._order,
                )
            )
            self._port, self._url = server.port, server.url
        return self._url

    async def kill(self) -> None:
        """Drops its connections and its port."""
        await self._life.aclose()
        self._url = ""

    def note(self, text: str) -> None:
        """The one thing that the recorder did on the server's disk."""
        if text.startswith("the saved file is deleted"):
            (self._folder / "output" / "s03_00001_.png").unlink()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """One client."""
    async with aiohttp.ClientSession() as opened:
        yield opened


def recorded_order(recording: Recording) -> Callable[[dict[str, Any], list[str]], list[str]]:
    """Takes outputs in the order of the recording, where it has the prompt."""
    orders = recording.output_orders()

    def order(prompt: dict[str, Any], outputs: list[str]) -> list[str]:
        known = orders.get(canonical(prompt), outputs)
        return known if sorted(known) == sorted(outputs) else outputs

    return order


@pytest.mark.parametrize("name", SCENARIOS)
async def test_standin_answers_as_recorded(
    name: str, recordings: Path, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    """Every request of a scenario gets the recorded answer, and every connection the recorded frames."""
    recording = load(recordings / f"{name}.jsonl")
    server = Standin(recording, tmp_path)
    replay = Replay(recording, session, server=server)
    try:
        await replay.run()
    finally:
        await server.kill()
    assert not replay.problems, "\n".join(replay.problems)


def test_every_recording_is_replayed(recordings: Path) -> None:
    """No scenario of the directory is left out."""
    assert {path.stem for path in recordings.glob("*.jsonl")} == {*SCENARIOS, *WITHOUT_EXCHANGES}
