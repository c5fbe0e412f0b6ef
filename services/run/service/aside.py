"""Work on documents that may be large."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from services.run.model.new_run import NewRun

T = TypeVar("T")

THREAD_BYTES = 256 * 1024
"""From here on documents are worked on in a thread: one of 8 MiB would hold up everybody for a second."""


async def aside(size_bytes: int, work: Callable[[], T]) -> T:
    """Do `work` on so many bytes of JSON; for small ones a thread would cost more than the work."""
    return work() if size_bytes < THREAD_BYTES else await asyncio.to_thread(work)


def request_bytes(new: NewRun) -> int:
    """How much JSON and text a request holds."""
    documents = (new.graph_json or b"", new.parameters_json, new.overrides_json, new.extra_data_json, new.metadata_json)
    texts = sum(len(text) for values in new.parameters_text.values() for text in values)
    return sum(map(len, documents)) + texts
