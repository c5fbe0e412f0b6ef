"""Which frames become previews: only while they are wanted, and none above 256 KiB (A17)."""

import time
from typing import Any

import pytest

from services.dispatcher.drivers.comfyui.frames import PictureFrame
from services.dispatcher.drivers.comfyui.hearing import Hearing
from services.dispatcher.drivers.comfyui.progress import ProgressTracker
from tests.servers.driver_rig import RecordingObserver

LIMIT = 256 * 1024


def heard(image: bytes, *, wanted: bool) -> list[tuple[str, str, bytes]]:
    """The previews that one picture of a node makes."""
    observer = RecordingObserver()
    observer.wants_previews = wanted
    no_collector: Any = None  # a preview is no output
    hearing = Hearing(
        observer=observer,
        tracker=ProgressTracker({"3": "KSampler"}, stopwatch=time.monotonic),
        collector=no_collector,
        frame_nodes=frozenset(),
        on_end=lambda: None,
    )
    hearing.heard(PictureFrame(media_type="image/jpeg", image=image, node_id="3", prompt_id="p"), image)
    return observer.previews


@pytest.mark.parametrize(
    ("size", "wanted", "count"),
    [(LIMIT, True, 1), (LIMIT + 1, True, 0), (10, False, 0)],
    ids=["whole", "large", "unwanted"],
)
def test_previews_are_small_and_wanted(size: int, wanted: bool, count: int) -> None:
    assert len(heard(bytes(size), wanted=wanted)) == count
