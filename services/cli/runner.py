"""`comfyfleet runner`: the backends as the fleet sees them."""

import typer
from comfyfleet.run.v1 import runner_pb2, runner_pb2_grpc

from services.cli.connection import find_connection, open_client
from services.cli.document import enum_word
from services.cli.invocation import invoke
from services.cli.options import AsJson, PageSize
from services.cli.terminal import write_list

app = typer.Typer(no_args_is_help=True, help="Look at the runners.")


@app.command("list")
def list_runners(limit: PageSize = 50, as_json: AsJson = False) -> None:
    """List the runners that may serve the team."""

    async def command() -> None:
        connection = find_connection()
        async with open_client(connection) as channel:
            stub = runner_pb2_grpc.RunnerServiceStub(channel)
            request = runner_pb2.ListRunnersRequest(page_size=limit)
            answer = await stub.ListRunners(request, metadata=connection.metadata)
        write_list(
            answer.runners,
            as_json=as_json,
            columns=("RUNNER", "HEALTH", "SCOPE", "TAGS", "RUNS", "BACKEND", "ID"),
            row=_row,
            more=bool(answer.next_page_token),
        )

    invoke(command())


def _row(runner: runner_pb2.Runner) -> tuple[str, ...]:
    health = enum_word(runner_pb2.RunnerHealth.Name(runner_pb2.RunnerHealth.ValueType(runner.health)), "RunnerHealth")
    scope = enum_word(runner_pb2.RunnerScope.Name(runner_pb2.RunnerScope.ValueType(runner.scope)), "RunnerScope")
    return (
        runner.local_key,
        f"{health} ({runner.health_reason})" if runner.health_reason else health,
        scope,
        " ".join(runner.tags),
        str(len(runner.run_ids)),
        f"{runner.runtime} {runner.backend_version}".strip(),
        runner.id,
    )
