"""`comfyfleet serve`: run members in this process until told to stop."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from services.cli.invocation import CommandFailed, invoke
from services.cli.supervisor.child import READY_FD_VARIABLE, TETHER_VARIABLE
from services.common.logging import configure_logging

_SHUTDOWN_SECONDS = 20.0
_COLLECT_EVERY = (10_000, 20, 20)
"""Thresholds of the garbage collector: Python's 700 objects are one gRPC call's, and cycles are rare here."""


def serve(
    members: Annotated[list[str], typer.Argument(help="Any of: gateway access registry run file dispatcher standin.")],
) -> None:
    """Run members in this process until SIGTERM or SIGINT. Settings come from COMFYFLEET_… variables."""
    from services.common.settings import Settings
    from services.compose import MEMBERS, open_members

    unknown = sorted(set(members) - set(MEMBERS))

    async def command() -> None:
        if unknown:
            raise CommandFailed(f"unknown members: {' '.join(unknown)}; there are {' '.join(MEMBERS)}", status=2)
        settings = Settings()
        configure_logging(member="+".join(members), level=settings.log_level)
        stop = _stop_requested()
        async with open_members(members, settings):
            _spare_the_collector()
            _announce_ready()
            await stop.wait()
            asyncio.get_running_loop().call_later(_SHUTDOWN_SECONDS, _die)

    invoke(command(), loop_factory=_fast_loop())


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where the platform has it."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _spare_the_collector() -> None:
    """What start-up made stays: the collector need not walk through all of it every few hundred runs."""
    gc.freeze()  # without a collection before it, which would cost half a second of every start
    gc.set_threshold(*_COLLECT_EVERY)


def _stop_requested() -> asyncio.Event:
    """Set by SIGTERM, by SIGINT, and, in a child of `up`, by the end of its standard input."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if os.environ.get(TETHER_VARIABLE):

        def tether() -> None:
            if not os.read(sys.stdin.fileno(), 4096):
                loop.remove_reader(sys.stdin.fileno())
                stop.set()

        loop.add_reader(sys.stdin.fileno(), tether)
    return stop


def _announce_ready() -> None:
    descriptor = os.environ.get(READY_FD_VARIABLE)
    if descriptor is not None:
        os.write(int(descriptor), b"ready\n")
        os.close(int(descriptor))


def _die() -> None:
    """A stop that hangs must not keep the folder locks for ever."""
    os._exit(1)
