"""`comfyfleet file`: put files in and get them out."""

from pathlib import Path
from typing import Annotated

import typer
from comfyfleet.file.v1 import file_pb2, file_pb2_grpc

from services.cli.connection import find_connection, open_client
from services.cli.invocation import invoke
from services.cli.options import AsJson
from services.cli.terminal import write, write_json
from services.cli.transfer import download, upload

app = typer.Typer(no_args_is_help=True, help="Put files in and get them out.")


@app.command("put")
def put(
    path: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The file to store.")],
    as_json: AsJson = False,
) -> None:
    """Store a file and print its id."""

    async def command() -> None:
        connection = find_connection()
        async with open_client(connection) as channel:
            stored = await upload(channel, connection, path)
        write_json(stored) if as_json else write(stored.id)

    invoke(command())


@app.command("get")
def get(
    file_id: Annotated[str, typer.Argument(help="Id of the file.")],
    output: Annotated[Path | None, typer.Option(help="Where to write it. Default: its own name, here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a file."""

    async def command() -> None:
        connection = find_connection()
        async with open_client(connection) as channel:
            stub = file_pb2_grpc.FileServiceStub(channel)
            record = (await stub.GetFile(file_pb2.GetFileRequest(file_id=file_id), metadata=connection.metadata)).file
            target = output or Path(Path(record.file_name).name or file_id)
            await download(channel, connection, file_id, target)
        write_json(record) if as_json else write(str(target))

    invoke(command())
