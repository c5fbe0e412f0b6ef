"""`comfyfleet key`: make, list and revoke credentials."""

from enum import StrEnum
from typing import Annotated

import typer
from comfyfleet.access.v1 import access_pb2, access_pb2_grpc

from services.cli.connection import find_connection, open_client
from services.cli.document import enum_word
from services.cli.invocation import invoke
from services.cli.options import AsJson, PageSize
from services.cli.terminal import notice, write, write_json, write_list
from services.common.ids import new_id

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke keys.")


class Kind(StrEnum):
    """What a key acts as."""

    INTEGRATION = "integration"
    AGENT = "agent"


_KINDS = {
    Kind.INTEGRATION: access_pb2.CREDENTIAL_KIND_INTEGRATION,
    Kind.AGENT: access_pb2.CREDENTIAL_KIND_AGENT,
}


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Name for people.")],
    kind: Annotated[Kind, typer.Option(help="`agent` is for dispatchers.")] = Kind.INTEGRATION,
    scope: Annotated[list[str] | None, typer.Option(help="What it may do, e.g. runs:read. Default: all.")] = None,
    team: Annotated[str, typer.Option(help="Id or name of another team.")] = "",
    fleet: Annotated[bool, typer.Option("--fleet", help="An agent whose runners serve every team.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key. Its secret is shown once."""

    async def command() -> None:
        connection = find_connection()
        async with open_client(connection) as channel:
            stub = access_pb2_grpc.AccessServiceStub(channel)
            request = access_pb2.CreateCredentialRequest(
                kind=_KINDS[kind], display_name=name, scopes=scope or [], team=team, fleet=fleet, request_id=new_id()
            )
            answer = await stub.CreateCredential(request, metadata=connection.metadata)
        if as_json:
            write_json(answer)
        else:
            write(answer.secret)
            notice("Keep it: it is not shown again.")

    invoke(command())


@app.command("list")
def list_keys(limit: PageSize = 50, as_json: AsJson = False) -> None:
    """List the team's keys, newest first, without their secrets."""

    async def command() -> None:
        connection = find_connection()
        async with open_client(connection) as channel:
            stub = access_pb2_grpc.AccessServiceStub(channel)
            request = access_pb2.ListCredentialsRequest(page_size=limit)
            answer = await stub.ListCredentials(request, metadata=connection.metadata)
        write_list(
            answer.credentials,
            as_json=as_json,
            columns=("ID", "KEY", "KIND", "STATE", "NAME", "SCOPES"),
            row=lambda entry: (
                entry.id,
                f"{entry.prefix}…",
                enum_word(
                    access_pb2.CredentialKind.Name(access_pb2.CredentialKind.ValueType(entry.kind)), "CredentialKind"
                ),
                "revoked" if entry.HasField("revoke_time") else "live",
                entry.display_name,
                " ".join(entry.scopes),
            ),
            more=bool(answer.next_page_token),
        )

    invoke(command())


@app.command("revoke")
def revoke(
    credential_id: Annotated[str, typer.Argument(help="Id of the key, as `key list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Revoke a key for ever."""

    async def command() -> None:
        connection = find_connection()
        async with open_client(connection) as channel:
            stub = access_pb2_grpc.AccessServiceStub(channel)
            request = access_pb2.RevokeCredentialRequest(credential_id=credential_id)
            credential = (await stub.RevokeCredential(request, metadata=connection.metadata)).credential
        write_json(credential) if as_json else write(f"{credential.prefix}… revoked")

    invoke(command())
