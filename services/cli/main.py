"""The `comfyfleet` command."""

from importlib import metadata
from typing import Annotated

import typer

from services.cli import file, key, runner, runs, workflow
from services.cli.demo import demo
from services.cli.prepare import bootstrap, migrate
from services.cli.run import run
from services.cli.serve import serve
from services.cli.terminal import write
from services.cli.up import up

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        write(f"comfyfleet {metadata.version('comfyfleet')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """ComfyFleet: a durable, fair, secure service in front of any number of ComfyUI backends."""


app.command("up")(up)
app.command("demo")(demo)
app.command("serve")(serve)
app.command("migrate")(migrate)
app.command("bootstrap")(bootstrap)
app.command("run")(run)
app.add_typer(workflow.app, name="workflow")
app.add_typer(runs.app, name="runs")
app.add_typer(file.app, name="file")
app.add_typer(key.app, name="key")
app.add_typer(runner.app, name="runner")


def main() -> None:
    """Runs the command that the arguments name."""
    app(prog_name="comfyfleet")
