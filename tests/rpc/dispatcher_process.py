"""A dispatcher in a process of its own, which a test kills.

`python -m tests.rpc.dispatcher_process STATE RUN FILE URL…`, where RUN and FILE are the addresses of the rooms; it ends
with its standard input.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.common.logging import configure_logging
from services.common.settings import Settings
from services.dispatcher.room import open_dispatcher

_ROOT = Path(__file__).parents[2]


class DispatcherProcess:
    """A running dispatcher."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def kill(self) -> None:
        """SIGKILL, at this moment of its work."""
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()


@asynccontextmanager
async def open_dispatcher_process(settings: Settings) -> AsyncIterator[DispatcherProcess]:
    """A dispatcher with these settings, killed at the end."""
    path = os.pathsep.join([str(_ROOT), str(_ROOT / "proto" / "gen")])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.rpc.dispatcher_process",
        str(settings.state_dir), settings.run_address, settings.file_address, *settings.comfyui_urls,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        cwd=_ROOT, env={**os.environ, "PYTHONPATH": path, "COMFYFLEET_AGENT_SECRET": settings.agent_secret or ""},
    )  # fmt: skip
    try:
        yield DispatcherProcess(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def main(state: str, run_address: str, file_address: str, *urls: str) -> None:
    """Serve until standard input ends."""
    settings = Settings(
        state_dir=Path(state), run_address=run_address, file_address=file_address, comfyui_urls=list(urls)
    )
    async with open_dispatcher(settings=settings):
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    configure_logging(member="dispatcher", to=sys.stderr)
    asyncio.run(main(*sys.argv[1:]))
