"""`python -m services.standin --port N --folder DIR`: a stand-in backend as a process of its own."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import fields
from pathlib import Path

from services.standin.knobs import Knobs, knobs_from, knobs_from_environment
from services.standin.server import open_standin

KILLED = 137


def main() -> int:
    """Serves until SIGTERM or SIGINT. Knobs come from options, then from COMFYFLEET_STANDIN_* variables."""
    parser = argparse.ArgumentParser(prog="standin", description="A stand-in backend that speaks ComfyUI's protocol.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8188, help="0 = any free one; the line printed at start names it")
    parser.add_argument("--folder", type=Path, required=True, help="holds input, output and temp")
    parser.add_argument("--knobs-by-post", action="store_true", help="serve GET and POST /standin/knobs")
    for knob in fields(Knobs):
        parser.add_argument(f"--{knob.name.replace('_', '-')}", dest=knob.name, metavar="VALUE")
    options = parser.parse_args()
    given = {knob.name: getattr(options, knob.name) for knob in fields(Knobs) if getattr(options, knob.name)}
    try:
        knobs = knobs_from(given, knobs_from_environment(os.environ))
    except ValueError as problem:
        parser.error(str(problem))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(options.host, options.port, options.folder, knobs, options.knobs_by_post))
    return 0


async def _serve(host: str, port: int, folder: Path, knobs: Knobs, knobs_by_post: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_standin(
        folder=folder, host=host, port=port, knobs=knobs, knobs_by_post=knobs_by_post, die=lambda: os._exit(KILLED)
    ) as server:
        sys.stdout.write(f"stand-in backend on {server.url}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
