"""`comfyfleet workflow`: store graphs, and look at what is stored."""

import re
from pathlib import Path
from typing import Annotated

import typer
from comfyfleet.registry.v1 import registry_pb2, registry_pb2_grpc, workflow_pb2

from services.cli.connection import find_connection, open_client
from services.cli.document import enum_word
from services.cli.invocation import invoke
from services.cli.options import AsJson, PageSize
from services.cli.terminal import write, write_json, write_list
from services.common.errors import NotFound
from services.common.status import error_of

import grpc  # isort: skip

app = typer.Typer(no_args_is_help=True, help="Store workflows and look at them.")

Graph = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Graph in ComfyUI's API format (JSON).")]
Reference = Annotated[str, typer.Argument(help="Id, slug or team/slug; `@version` picks a version.")]


@app.command("push")
def push(
    graph: Graph,
    slug: Annotated[str, typer.Option(help="Name in references. Default: the file's name.")] = "",
    name: Annotated[str, typer.Option(help="Name for people. Default: as it was, at first the slug.")] = "",
    note: Annotated[str, typer.Option(help="Note about this version.")] = "",
    as_json: AsJson = False,
) -> None:
    """Store a graph: as a new workflow, or as a new version of the one with that slug."""

    async def command() -> None:
        connection = find_connection()
        reference = slug or re.sub("[^a-z0-9]+", "-", graph.stem.lower()).strip("-")
        async with open_client(connection) as channel:
            stub = registry_pb2_grpc.RegistryServiceStub(channel)
            content = graph.read_bytes()
            try:
                update = registry_pb2.UpdateWorkflowRequest(
                    workflow=reference, graph_json=content, note=note, display_name=name or None
                )
                workflow = (await stub.UpdateWorkflow(update, metadata=connection.metadata)).workflow
            except grpc.aio.AioRpcError as refused:
                if not isinstance(error_of(refused), NotFound):
                    raise
                create = registry_pb2.CreateWorkflowRequest(
                    slug=reference, display_name=name or reference, graph_json=content, note=note
                )
                workflow = (await stub.CreateWorkflow(create, metadata=connection.metadata)).workflow
        if as_json:
            write_json(workflow)
        else:
            write(f"{workflow.slug}@{workflow.version.number}  {workflow.id}")
            _print_parameters(list(workflow.version.parameters))

    invoke(command())


@app.command("list")
def list_workflows(limit: PageSize = 50, as_json: AsJson = False) -> None:
    """List the team's workflows, newest first."""

    async def command() -> None:
        connection = find_connection()
        async with open_client(connection) as channel:
            stub = registry_pb2_grpc.RegistryServiceStub(channel)
            request = registry_pb2.ListWorkflowsRequest(page_size=limit)
            answer = await stub.ListWorkflows(request, metadata=connection.metadata)
        write_list(
            answer.workflows,
            as_json=as_json,
            columns=("WORKFLOW", "NAME", "PARAMETERS", "ID"),
            row=lambda entry: (
                f"{entry.slug}@{entry.latest_version}",
                entry.display_name,
                str(len(entry.version.parameters)),
                entry.id,
            ),
            more=bool(answer.next_page_token),
        )

    invoke(command())


@app.command("show")
def show(
    workflow: Reference,
    graph: Annotated[bool, typer.Option("--graph", help="Write the graph only, as JSON.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a workflow with its parameters."""

    async def command() -> None:
        connection = find_connection()
        async with open_client(connection) as channel:
            stub = registry_pb2_grpc.RegistryServiceStub(channel)
            view = workflow_pb2.WORKFLOW_VIEW_FULL if graph else workflow_pb2.WORKFLOW_VIEW_BASIC
            request = registry_pb2.GetWorkflowRequest(workflow=workflow, view=view)
            found = (await stub.GetWorkflow(request, metadata=connection.metadata)).workflow
        if graph:
            print(found.version.graph_json.decode("utf-8"))
        elif as_json:
            write_json(found)
        else:
            write(f"{found.display_name}  {found.team_name}/{found.slug}@{found.version.number}", style="bold")
            _print_parameters(list(found.version.parameters))

    invoke(command())


@app.command("discover")
def discover(graph: Graph, as_json: AsJson = False) -> None:
    """Show which parameters a graph has, and store nothing."""

    async def command() -> None:
        connection = find_connection()
        async with open_client(connection) as channel:
            stub = registry_pb2_grpc.RegistryServiceStub(channel)
            request = registry_pb2.DiscoverParametersRequest(graph_json=graph.read_bytes())
            answer = await stub.DiscoverParameters(request, metadata=connection.metadata)
        if as_json:
            write_json(answer)
        else:
            _print_parameters(list(answer.parameters))

    invoke(command())


def _print_parameters(parameters: list[workflow_pb2.Parameter]) -> None:
    def row(parameter: workflow_pb2.Parameter) -> tuple[str, ...]:
        kind = enum_word(
            workflow_pb2.ParameterType.Name(workflow_pb2.ParameterType.ValueType(parameter.type)), "ParameterType"
        )
        bounds = " … ".join(
            bound.decode("utf-8") for bound in (parameter.minimum_json, parameter.maximum_json) if bound
        )
        default = parameter.default_json.decode("utf-8")
        shown = default if len(default) <= 60 else default[:57] + "…"
        return (parameter.key, kind, "required" if parameter.required else shown, bounds)

    write_list(parameters, as_json=False, columns=("PARAMETER", "TYPE", "DEFAULT", "BOUNDS"), row=row)
