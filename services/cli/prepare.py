"""`comfyfleet migrate` and `comfyfleet bootstrap`: what an installation needs before its members start."""

from typing import Annotated

import typer

from services.cli.invocation import CommandFailed, invoke
from services.cli.options import AsJson
from services.cli.terminal import notice, write, write_json


def migrate(
    rooms: Annotated[list[str] | None, typer.Argument(help="Any of: access registry run file. Default: all.")] = None,
) -> None:
    """Bring the tables of rooms to this version. Refuses while a member serves the room on SQLite."""

    from services.common.settings import Settings
    from services.compose import ROOMS, migrate_rooms

    async def command() -> None:
        wanted = rooms or list(ROOMS)
        unknown = sorted(set(wanted) - set(ROOMS))
        if unknown:
            raise CommandFailed(f"unknown rooms: {' '.join(unknown)}; there are {' '.join(ROOMS)}", status=2)
        await migrate_rooms(Settings(), wanted)
        notice(f"migrated: {' '.join(wanted)}")

    invoke(command())


def bootstrap(as_json: AsJson = False) -> None:
    """Make the first team, its first key and the installation's dispatcher key, where they are missing."""

    from services.common.settings import Settings
    from services.compose import bootstrap_installation

    async def command() -> None:
        keys = await bootstrap_installation(Settings())
        if as_json:
            write_json({"key": keys.first_key, "agent_key": keys.agent_secret})
        else:
            write(f"key       {keys.first_key or 'revoked'}")
            write(f"agent key {keys.agent_secret}")

    invoke(command())
