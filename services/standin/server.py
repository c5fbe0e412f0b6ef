"""The stand-in as a running server."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from services.standin.cache import ResultCache
from services.standin.call import Interrupt
from services.standin.catalogue import Catalogue
from services.standin.execution import Workshop
from services.standin.folders import Folders
from services.standin.guard import guard
from services.standin.history import History
from services.standin.knobs import KnobBoard, Knobs
from services.standin.model.node import NodeDefinition
from services.standin.nodes import all_nodes
from services.standin.queue import PromptQueue
from services.standin.routes import OutputOrder, Rooms, Routes
from services.standin.socket import Sockets
from services.standin.worker import Worker

LARGEST_BODY_BYTES = 100 * 1024 * 1024
WORKER_GRACE_SECONDS = 5.0


class StandinServer:
    """A server that listens. Made by `open_standin`."""

    def __init__(self, *, host: str, port: int, folders: Folders, knobs: KnobBoard, died: asyncio.Event) -> None:
        self.host = host
        self.port = port
        self.folders = folders
        self.knobs = knobs
        self._died = died

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def turn(self, **knobs: Any) -> Knobs:
        """Turns some knobs. Raises ValueError."""
        return self.knobs.turn(**knobs)

    async def wait_for_death(self) -> None:
        """Returns once a knob has killed the server."""
        await self._died.wait()


class _Listener:
    """The listening socket and its connections, which can be dropped without a word."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner

    def drop(self) -> None:
        """Refuses new connections and resets the open ones."""
        server = self._runner.server
        for site in self._runner.sites:
            listening = getattr(site, "_server", None)
            if listening is not None:
                listening.close()
        for connection in [] if server is None else list(server.connections):
            transport = connection.transport
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()


def _as_posted(_prompt: dict[str, Any], outputs: list[str]) -> list[str]:
    return outputs


@asynccontextmanager
async def open_standin(
    *,
    folder: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    knobs: Knobs | None = None,
    extra_nodes: Iterable[NodeDefinition] = (),
    order_outputs: OutputOrder = _as_posted,
    knobs_by_post: bool = False,
    die: Callable[[], None] | None = None,
) -> AsyncIterator[StandinServer]:
    """Runs a stand-in backend for as long as the context is open.

    `folder` holds `input`, `output` and `temp` (emptied at start). `port` 0 is any free one. `order_outputs` decides
    in which order the outputs of a prompt are taken, which the protocol leaves open. `knobs_by_post` adds
    `GET|POST /standin/knobs`. `die` is what death means; by default the server drops its connections and its port.
    Raises OSError if the port is taken.
    """
    loop = asyncio.get_running_loop()
    board = KnobBoard(knobs or Knobs())
    folders = Folders(folder)
    await asyncio.to_thread(folders.prepare)
    catalogue = Catalogue([*all_nodes(), *extra_nodes], folders=folders)
    interrupt, history, died = Interrupt(), History(), asyncio.Event()
    app = web.Application(client_max_size=LARGEST_BODY_BYTES, middlewares=[guard(board)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    listener = _Listener(runner)

    def drop() -> None:
        died.set()
        listener.drop()

    def perish() -> None:
        if die is not None:
            die()
        interrupt.stopped.set()
        loop.call_soon_threadsafe(drop)

    sockets = Sockets(loop=loop, knobs=board, queue_size=lambda: queue.remaining())  # noqa: PLW0108 - made below
    queue = PromptQueue(changed=sockets.send_status)
    workshop = Workshop(
        catalogue=catalogue,
        cache=ResultCache(catalogue=catalogue, folders=folders),
        folders=folders,
        knobs=board,
        interrupt=interrupt,
        sink=sockets,
        die=perish,
    )
    worker = Worker(queue=queue, history=history, workshop=workshop)
    sockets.executing = worker.executing
    rooms = Rooms(
        queue=queue,
        history=history,
        sockets=sockets,
        worker=worker,
        catalogue=catalogue,
        folders=folders,
        interrupt=interrupt,
        knobs=board,
        order_outputs=order_outputs,
    )
    Routes(rooms, knobs_by_post=knobs_by_post).add_to(app)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    writer = asyncio.create_task(sockets.write_frames(), name="standin-frames")
    worker.start()
    try:
        bound = runner.addresses[0][1]
        yield StandinServer(host=host, port=bound, folders=folders, knobs=board, died=died)
    finally:
        interrupt.stopped.set()
        queue.close()
        listener.drop()
        await asyncio.to_thread(functools.partial(worker.join, WORKER_GRACE_SECONDS))
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        await runner.cleanup()
