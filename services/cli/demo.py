"""`comfyfleet demo`: from nothing to a picture, with everything visible."""

import asyncio
import sys
from collections.abc import Coroutine
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from comfyfleet.registry.v1 import registry_pb2, registry_pb2_grpc
from comfyfleet.run.v1 import run_service_pb2

from services.cli.connection import Connection, open_client
from services.cli.installation import default_state
from services.cli.invocation import CommandFailed, invoke
from services.cli.run import execute
from services.cli.supervisor.child import ChildGaveUp
from services.cli.supervisor.machine import MachinePlan, open_machine
from services.cli.supervisor.ports import is_free
from services.cli.terminal import notice
from services.cli.up import ComfyUI, GrpcPort, Port, State, announce, grpc_port_for, ready_before, stop_event
from services.common.errors import AlreadyExists
from services.common.logging import configure_logging
from services.common.status import error_of


def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the run.")] = False,
    state: State = None,
    port: Port = 8080,
    grpc_port: GrpcPort = None,
    comfyui: ComfyUI = None,
) -> None:
    """Start everything, register the example, run it with visible progress, and stay up until Ctrl-C."""
    folder = (state or default_state() / "demo").absolute()
    wanted = port if is_free(port) and is_free(grpc_port_for(port, grpc_port)) else 0
    plan = MachinePlan(
        state=folder,
        port=wanted,
        grpc_port=grpc_port_for(wanted, grpc_port),
        comfyui=comfyui or [],
        log_folder=folder / "logs",
    )
    invoke(_demo(plan, once=once))


async def _demo(plan: MachinePlan, *, once: bool) -> None:
    configure_logging(member="demo", level="warning", to=sys.stderr)
    stop = stop_event()
    notice(f"starting; logs are in {plan.log_folder}")
    try:
        async with open_machine(plan) as machine:
            if not await ready_before(machine, stop):
                return
            announce(plan, machine, as_json=False)
            if await _before(stop, _run_example(plan, machine.connection)) and not once:
                notice("up until Ctrl-C")
                await stop.wait()
    except* ChildGaveUp as group:
        raise CommandFailed(f"giving up: {group.exceptions[0]}; see {plan.log_folder}") from None


async def _before(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Whether `work` was done before `stop` came, which ends it."""
    working = asyncio.create_task(work, name="example")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        await working
        return True
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def _run_example(plan: MachinePlan, connection: Connection) -> None:
    # A ComfyUI of the user's may have no model at all; the stand-in draws without one.
    name = "gradient" if plan.comfyui else "text-to-image"
    graph = resources.files("services.cli").joinpath("examples", f"{name}.json").read_bytes()
    async with open_client(connection) as channel:
        await _register(channel, connection, slug=name, graph=graph)
        notice(f"workflow {name} registered; running it")
        request = run_service_pb2.CreateRunRequest(workflow=name, origin="demo")
        paths = await execute(channel, connection, request, output=plan.state / "outputs", previews=None, as_json=False)
    _check_pictures(paths)


async def _register(channel: grpc.aio.Channel, connection: Connection, *, slug: str, graph: bytes) -> None:
    stub = registry_pb2_grpc.RegistryServiceStub(channel)
    request = registry_pb2.CreateWorkflowRequest(slug=slug, display_name=slug, graph_json=graph)
    try:
        await stub.CreateWorkflow(request, metadata=connection.metadata)
    except grpc.aio.AioRpcError as refused:
        if not isinstance(error_of(refused), AlreadyExists):  # from an earlier demo on this state
            raise


def _check_pictures(paths: list[Path]) -> None:
    if not paths or any(not path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") for path in paths):
        raise CommandFailed("the run succeeded but made no PNG")
