"""Whether the client is still there, while we wait for something on its behalf."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.types import Receive

from gateway.problems import ClientGone

_Answer = TypeVar("_Answer")


class OpenStreams:
    """Streams under way that would not end by themselves; a stopping porch ends them all."""

    def __init__(self) -> None:
        self._ends: set[asyncio.Future[None]] = set()
        self._stopping = False

    @contextmanager
    def registered(self, end: "asyncio.Future[None]") -> Iterator[None]:
        """Keep `end` on the list; done at once if the porch is stopping already."""
        self._ends.add(end)
        if self._stopping:
            _finish(end)
        try:
            yield
        finally:
            self._ends.discard(end)

    def stop(self) -> None:
        """End all streams, and those that begin from now on."""
        self._stopping = True
        for end in list(self._ends):
            _finish(end)


@contextmanager
def leaving(receive: Receive, streams: OpenStreams | None = None) -> "Iterator[asyncio.Future[None]]":
    """A future that is done when the client has gone, or `streams` are stopped. The body must have been read."""
    end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    watch = asyncio.create_task(_watch(receive, end), name="client-presence")
    try:
        with streams.registered(end) if streams is not None else nullcontext():
            yield end
    finally:
        watch.cancel()
        _finish(end)


async def while_present(request: Request, work: Coroutine[Any, Any, _Answer]) -> _Answer:
    """What `work` returns; it is cancelled, and ClientGone raised, when the client goes first."""
    end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    watch = asyncio.create_task(_watch(request.receive, end), name="client-presence")
    task = asyncio.create_task(work, name="work-for-client")
    try:
        waiting: set[asyncio.Future[Any]] = {task, end}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        watch.cancel()
        task.cancel()
        _finish(end)


async def _watch(receive: Receive, end: "asyncio.Future[None]") -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    _finish(end)


def _finish(end: "asyncio.Future[None]") -> None:
    if not end.done():
        end.set_result(None)
