"""`comfyfleet up`: a whole installation on one machine."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.cli.connection import write_connection
from services.cli.installation import default_state
from services.cli.invocation import CommandFailed, invoke
from services.cli.options import AsJson
from services.cli.supervisor.child import ChildGaveUp
from services.cli.supervisor.machine import Machine, MachinePlan, open_machine
from services.cli.terminal import notice, write_json
from services.common.logging import configure_logging

State = Annotated[
    Path | None, typer.Option("--state", help="Folder for everything that lasts. Default: the user's state folder.")
]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of REST; 0 is any free one.")]
GrpcPort = Annotated[
    int | None, typer.Option("--grpc-port", min=0, max=65535, help="Port of gRPC. Default: the next after --port.")
]
ComfyUI = Annotated[
    list[str] | None, typer.Option("--comfyui", help="Address of a ComfyUI to drive. Default: the stand-in backend.")
]
Host = Annotated[str, typer.Option("--host", help="Address to listen on. Loopback unless you say otherwise.")]


def up(
    state: State = None,
    port: Port = 8080,
    grpc_port: GrpcPort = None,
    comfyui: ComfyUI = None,
    host: Host = "127.0.0.1",
    as_json: AsJson = False,
) -> None:
    """Run a whole installation on this machine, until Ctrl-C or SIGTERM."""
    plan = MachinePlan(
        state=(state or default_state()).absolute(),
        port=port,
        grpc_port=grpc_port_for(port, grpc_port),
        comfyui=comfyui or [],
        host=host,
    )
    invoke(_up(plan, as_json=as_json))


def grpc_port_for(port: int, grpc_port: int | None) -> int:
    """The port after REST's, unless one was given; any free one when REST's is."""
    if grpc_port is not None:
        return grpc_port
    return port + 1 if 0 < port < 65535 else 0


async def _up(plan: MachinePlan, *, as_json: bool) -> None:
    configure_logging(member="up", to=sys.stderr)
    stop = stop_event()
    try:
        async with open_machine(plan) as machine:
            if await ready_before(machine, stop):
                announce(plan, machine, as_json=as_json)
                await stop.wait()
    except* ChildGaveUp as group:
        raise CommandFailed(f"giving up: {group.exceptions[0]}") from None


def stop_event() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def ready_before(machine: Machine, stop: asyncio.Event) -> bool:
    """Waits until every member serves; False when `stop` came first."""
    ready = asyncio.create_task(machine.family.wait_ready(), name="ready")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({ready, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return ready.done()
    finally:
        ready.cancel()
        stopping.cancel()


def announce(plan: MachinePlan, machine: Machine, *, as_json: bool) -> None:
    """Says where the installation is, and leaves word for commands on this machine."""
    connection = machine.connection
    write_connection(plan.state, connection)
    if as_json:
        write_json({"url": connection.url, "grpc": connection.grpc, "key": connection.key})
        return
    notice("ComfyFleet is up  (Ctrl-C stops it)", style="bold green")
    notice(f"  REST  {connection.url}/v1   pages at {connection.url}/docs")
    notice(f"  gRPC  {connection.grpc}")
    notice(f"  key   {connection.key or 'the first key was revoked'}")
    notice(f"  state {plan.state}")
