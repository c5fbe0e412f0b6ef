"""`comfyfleet run`: execute a workflow, watch it, and save what it makes."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import grpc
import typer
from comfyfleet.run.v1 import run_pb2, run_service_pb2, run_service_pb2_grpc

from services.cli.connection import Connection, find_connection, open_client
from services.cli.following import Screen, follow, state_word
from services.cli.invocation import CommandFailed, invoke
from services.cli.options import AsJson
from services.cli.terminal import notice, write, write_json
from services.cli.transfer import download, upload
from services.common.ids import new_id


def run(
    workflow: Annotated[
        str, typer.Argument(help="Workflow (id, slug or team/slug, with `@version`), or a graph's JSON file.")
    ],
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter", "-p", metavar="KEY=VALUE", help="A value, or key=@FILE to send a file. Repeat for more."
        ),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NODE.INPUT=JSON", help="Sets one input of one node. Repeat for more."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the outputs.")] = Path("outputs"),
    previews: Annotated[Path | None, typer.Option(help="Folder for previews. Default: none are sent.")] = None,
    wait: Annotated[bool, typer.Option(help="Watch the run and save its outputs.")] = True,
    request_id: Annotated[str, typer.Option(help="The same request under the same id is one run.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="Tag that the runner must have.")] = None,
    as_json: AsJson = False,
) -> None:
    """Execute a workflow, watch it, and save what it makes."""

    async def command() -> None:
        connection = find_connection()
        async with open_client(connection) as channel:
            request = run_service_pb2.CreateRunRequest(
                request_id=request_id or new_id(), origin="cli", tags=tag or [], previews=previews is not None
            )
            _set_source(request, workflow)
            await _set_parameters(channel, connection, request, parameter or [])
            if override:
                request.overrides_json = _overrides(override)
            if not wait:
                stub = run_service_pb2_grpc.RunServiceStub(channel)
                made = (await stub.CreateRun(request, metadata=connection.metadata)).run
                write_json(made) if as_json else write(made.id)
                return
            await execute(channel, connection, request, output=output, previews=previews, as_json=as_json)

    invoke(command())


async def execute(
    channel: grpc.aio.Channel,
    connection: Connection,
    request: run_service_pb2.CreateRunRequest,
    *,
    output: Path,
    previews: Path | None,
    as_json: bool,
) -> list[Path]:
    """Makes a run, watches it, saves its outputs and returns their paths.

    Raises:
        CommandFailed: The run did not succeed.
        grpc.aio.AioRpcError: It was refused.
    """
    stub = run_service_pb2_grpc.RunServiceStub(channel)
    with Screen(as_json=as_json, previews=previews) as screen:
        events = stub.ExecuteRun(request, metadata=connection.metadata)
        ended = await follow(channel, connection, events, screen)
    return await save_outputs(channel, connection, ended, output, as_json=as_json)


async def save_outputs(
    channel: grpc.aio.Channel, connection: Connection, ended: run_pb2.Run, folder: Path, *, as_json: bool
) -> list[Path]:
    """Saves an ended run's outputs into `folder/<run id>/` and returns their paths.

    Raises:
        CommandFailed: The run did not succeed; what it had made is saved all the same.
    """
    outputs = list(ended.outputs or ended.partial_outputs)
    paths = [folder / ended.id / Path(output.name).name for output in outputs]
    transfers = [
        download(channel, connection, output.file_id, path) for output, path in zip(outputs, paths, strict=True)
    ]
    await asyncio.gather(*transfers)
    if not as_json:
        for path in paths:
            write(str(path))
    if ended.state != run_pb2.RUN_STATE_SUCCEEDED:
        word = state_word(ended.state)
        where = f" (node {ended.error.node_id}, {ended.error.node_class})" if ended.error.node_id else ""
        raise CommandFailed(f"run {ended.id} {word}: {ended.error.message or word}{where}")
    if not as_json:
        notice(f"run {ended.id} succeeded: {len(paths)} output{'' if len(paths) == 1 else 's'}")
    return paths


def _set_source(request: run_service_pb2.CreateRunRequest, workflow: str) -> None:
    path = Path(workflow)
    if path.suffix == ".json" and path.is_file():
        request.graph_json = path.read_bytes()
    else:
        request.workflow = workflow


async def _set_parameters(
    channel: grpc.aio.Channel, connection: Connection, request: run_service_pb2.CreateRunRequest, given: list[str]
) -> None:
    for entry in given:
        key, equals, value = entry.partition("=")
        if not equals or not key:
            raise CommandFailed(f"--parameter {entry}: write key=value or key=@FILE", status=2)
        if value.startswith("@"):
            value = (await upload(channel, connection, Path(value[1:]), provisional=True)).id
        request.parameters_text[key].values.append(value)


def _overrides(given: list[str]) -> bytes:
    overrides: dict[str, dict[str, dict[str, object]]] = {}
    for entry in given:
        place, equals, text = entry.partition("=")
        node, dot, name = place.partition(".")
        if not equals or not dot:
            raise CommandFailed(f"--set {entry}: write NODE.INPUT=JSON", status=2)
        try:
            value = json.loads(text)
        except ValueError:
            value = text  # a bare word is meant as text
        overrides.setdefault(node, {"inputs": {}})["inputs"][name] = value
    return json.dumps(overrides).encode("utf-8")
