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
from services.standin.routes import OutputOrder, Parts, Routes
from services.standin.socket import Sockets
from services.standin.worker import Worker

LARGEST_BODY_BYTES = 100 * 1024 * 1024
WORKER_GRACE_SECONDS = 5.0


class StandinServer:
    """A server that listens. Made by `open_standin`."""

    def __init__(self, address: tuple[str, int], *, folders: Folders, knobs: KnobBoard, life: "_Life") -> None:
        self.host, self.port = address
        self.folders = folders
        self.knobs = knobs
        self._life = life

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def turn(self, **knobs: Any) -> Knobs:
        """Turns some knobs. Raises ValueError."""
        return self.knobs.turn(**knobs)

    async def wait_for_death(self) -> None:
        """Returns once the server is dead."""
        await self._life.ended.wait()

    def kill(self) -> None:
        """Ends the server at once: connections are reset, the port is refused, nothing more is executed."""
        self._life.end()


class _Life:
    """The life of a server: its listening socket, its connections and its worker, which can end without a word."""

    def __init__(self, runner: web.AppRunner, *, die: Callable[[], None] | None) -> None:
        self._runner = runner
        self.interrupt = Interrupt()
        self._die = die
        self._loop = asyncio.get_running_loop()
        self.ended = asyncio.Event()

    def end(self) -> None:
        """Dies, in the way that was asked for. Any thread."""
        if self._die is not None:
            self._die()
        self.interrupt.stopped.set()
        self._loop.call_soon_threadsafe(self.drop)

    def drop(self) -> None:
        """Refuses new connections and resets the open ones."""
        self.ended.set()
        self.interrupt.stopped.set()
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
    board, folders = KnobBoard(knobs or Knobs()), Folders(folder)
    await asyncio.to_thread(folders.prepare)
    app = web.Application(client_max_size=LARGEST_BODY_BYTES, middlewares=[guard(board)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    life = _Life(runner, die=die)
    parts = _parts(Catalogue([*all_nodes(), *extra_nodes], folders=folders), folders, board, life, order_outputs)
    Routes(parts, knobs_by_post=knobs_by_post).add_to(app)
    writer = asyncio.create_task(parts.sockets.write_frames(), name="standin-frames")
    parts.worker.start()
    try:
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        yield StandinServer((host, runner.addresses[0][1]), folders=folders, knobs=board, life=life)
    finally:
        parts.queue.close()
        life.drop()
        await asyncio.to_thread(functools.partial(parts.worker.join, WORKER_GRACE_SECONDS))
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        await runner.cleanup()


def _parts(catalogue: Catalogue, folders: Folders, board: KnobBoard, life: _Life, order_outputs: OutputOrder) -> Parts:
    """What one server is made of."""
    sockets = Sockets(knobs=board)
    queue, history = PromptQueue(changed=sockets.send_status), History()
    workshop = Workshop(
        catalogue=catalogue,
        cache=ResultCache(catalogue=catalogue, folders=folders),
        folders=folders,
        knobs=board,
        interrupt=life.interrupt,
        sink=sockets,
        die=life.end,
    )
    worker = Worker(queue=queue, history=history, workshop=workshop)
    sockets.watch(queue_size=queue.remaining, executing=worker.executing)
    return Parts(
        queue=queue,
        history=history,
        sockets=sockets,
        worker=worker,
        catalogue=catalogue,
        folders=folders,
        interrupt=life.interrupt,
        knobs=board,
        order_outputs=order_outputs,
    )
