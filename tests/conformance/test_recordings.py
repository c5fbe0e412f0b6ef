"""The stand-in behaves as a real ComfyUI server was recorded to behave."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from conformance.recorded_nodes import recorded_nodes
from conformance.recording import Recording, canonical, load, traces
from conformance.replay import Replay

from services.standin.server import open_standin

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
    "12-endpoints",
)
"""10b and 15 are summaries without exchanges; 11 has a test of its own, since its server dies."""


@pytest.fixture
def recordings() -> Path:
    """The directory of recordings."""
    folder = traces()
    if folder is None:
        pytest.skip("COMFYUI_TRACES names no directory with recordings of a ComfyUI server")
    return folder


def recorded_order(recording: Recording) -> Callable[[dict[str, Any], list[str]], list[str]]:
    """Takes outputs in the order of the recording, where it has the prompt."""
    orders = recording.output_orders()

    def order(prompt: dict[str, Any], outputs: list[str]) -> list[str]:
        known = orders.get(canonical(prompt), outputs)
        return known if sorted(known) == sorted(outputs) else outputs

    return order


@pytest.mark.parametrize("name", SCENARIOS)
async def test_standin_answers_as_recorded(name: str, recordings: Path, tmp_path: Path) -> None:
    """Every request of a scenario gets the recorded answer, and every connection the recorded frames."""
    recording = load(recordings / f"{name}.jsonl")
    async with (
        open_standin(
            folder=tmp_path, extra_nodes=recorded_nodes(), order_outputs=recorded_order(recording)
        ) as server,
        aiohttp.ClientSession() as session,
    ):

        def act(note: str) -> None:
            """What the recorder did beside the protocol."""
            if note.startswith("the saved file is deleted"):
                (tmp_path / "output" / "s03_00001_.png").unlink()

        replay = Replay(recording, session, base=server.url, on_note=act)
        await replay.run()
    assert not replay.problems, "\n".join(replay.problems)
