"""`comfyfleet runs`: list, show, watch and cancel runs."""

from pathlib import Path
from typing import Annotated

import typer
from comfyfleet.run.v1 import run_pb2, run_service_pb2, run_service_pb2_grpc

from services.cli.connection import find_connection, open_client
from services.cli.following import TERMINAL_STATES, Screen, follow, state_word
from services.cli.invocation import invoke
from services.cli.options import AsJson, PageSize
from services.cli.run import save_outputs
from services.cli.terminal import time_word, write, write_json, write_list

app = typer.Typer(no_args_is_help=True, help="List, show, watch and cancel runs.")

RunId = Annotated[str, typer.Argument(help="Id of the run.")]


@app.command("list")
def list_runs(
    filter_text: Annotated[str, typer.Option("--filter", help='For example: state = "RUNNING"')] = "",
    limit: PageSize = 50,
    as_json: AsJson = False,
) -> None:
    """List the team's runs, newest first."""

    async def command() -> None:
        connection = find_connection()
        async with open_client(connection) as channel:
            stub = run_service_pb2_grpc.RunServiceStub(channel)
            request = run_service_pb2.ListRunsRequest(page_size=limit, filter=filter_text)
            answer = await stub.ListRuns(request, metadata=connection.metadata)
        write_list(
            answer.runs,
            as_json=as_json,
            columns=("RUN", "STATE", "WORKFLOW", "ATTEMPT", "OUTPUTS", "CREATED"),
            row=lambda entry: (
                entry.id,
                state_word(entry.state),
                f"{entry.workflow_slug}@{entry.workflow_version}" if entry.workflow_slug else "-",
                str(entry.attempt),
                str(len(entry.outputs)),
                time_word(entry.create_time),
            ),
            more=bool(answer.next_page_token),
        )

    invoke(command())


@app.command("show")
def show(run_id: RunId, as_json: AsJson = False) -> None:
    """Show one run."""

    async def command() -> None:
        connection = find_connection()
        async with open_client(connection) as channel:
            stub = run_service_pb2_grpc.RunServiceStub(channel)
            request = run_service_pb2.GetRunRequest(run_id=run_id, view=run_pb2.RUN_VIEW_BASIC)
            run = (await stub.GetRun(request, metadata=connection.metadata)).run
        if as_json:
            write_json(run)
            return
        write(f"{run.id}  {state_word(run.state)}  attempt {run.attempt}", style="bold")
        if run.HasField("error"):
            write(f"{run.error.code}: {run.error.message}")
            for line in run.error.traceback:
                for each in line.splitlines():
                    write(each)
        write_list(
            run.outputs or run.partial_outputs,
            as_json=False,
            columns=("OUTPUT", "TYPE", "BYTES", "NODE", "FILE"),
            row=lambda entry: (entry.name, entry.media_type, str(entry.size_bytes), entry.node_id, entry.file_id),
        )

    invoke(command())


@app.command("watch")
def watch(
    run_id: RunId,
    after: Annotated[int | None, typer.Option(help="Resume after this event; 0 is from the first.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the outputs. Default: they are not saved.")] = None,
    previews: Annotated[Path | None, typer.Option(help="Folder for previews. Default: none are sent.")] = None,
    as_json: AsJson = False,
) -> None:
    """Watch a run to its end."""

    async def command() -> None:
        connection = find_connection()
        async with open_client(connection) as channel:
            stub = run_service_pb2_grpc.RunServiceStub(channel)
            request = run_service_pb2.WatchRunRequest(
                run_id=run_id, after_sequence=after, previews=previews is not None
            )
            with Screen(as_json=as_json, previews=previews) as screen:
                events = stub.WatchRun(request, metadata=connection.metadata)
                ended = await follow(channel, connection, events, screen)
            if ended.state not in TERMINAL_STATES:  # resumed after its last event: nothing was left to send
                get = run_service_pb2.GetRunRequest(run_id=run_id)
                ended = (await stub.GetRun(get, metadata=connection.metadata)).run
            if output is not None:
                await save_outputs(channel, connection, ended, output, as_json=as_json)
            elif not as_json:
                write(state_word(ended.state))

    invoke(command())


@app.command("cancel")
def cancel(run_id: RunId, as_json: AsJson = False) -> None:
    """Ask that a run stop."""

    async def command() -> None:
        connection = find_connection()
        async with open_client(connection) as channel:
            stub = run_service_pb2_grpc.RunServiceStub(channel)
            request = run_service_pb2.CancelRunRequest(run_id=run_id)
            run = (await stub.CancelRun(request, metadata=connection.metadata)).run
        write_json(run) if as_json else write(_cancel_word(run))

    invoke(command())


def _cancel_word(run: run_pb2.Run) -> str:
    word = state_word(run.state)
    return word if run.state in TERMINAL_STATES else f"{word}; it stops as soon as its backend does"
