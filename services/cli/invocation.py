"""Runs one command's coroutine, and turns what went wrong into words and an exit status.

| status | meaning |
|---|---|
| 0 | done; for `run`, the run succeeded |
| 1 | the run ended otherwise, or something unexpected happened |
| 2 | the request is wrong: usage, a value, a reference |
| 3 | no such thing |
| 4 | the key is missing, unknown, revoked, or may not do this |
| 5 | the installation cannot be reached, or is overloaded; the same command may work later |
| 130 | interrupted |
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import typer

from services.cli.connection import NoConnection
from services.cli.terminal import notice
from services.common.errors import (
    DeadlineExceeded,
    DomainError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from services.common.status import error_of

_STATUSES: tuple[tuple[type[DomainError], int], ...] = (
    (NotFound, 3),
    (Unauthenticated, 4),
    (PermissionDenied, 4),
    (Unavailable, 5),
    (ResourceExhausted, 5),
    (DeadlineExceeded, 5),
)

_WHERE = (
    "COMFYFLEET_URL, COMFYFLEET_GRPC and COMFYFLEET_KEY say where it is and who asks; "
    "without them, what `comfyfleet up` last left on this machine."
)


class CommandFailed(Exception):
    """Ends a command with a message and a status."""

    def __init__(self, message: str, *, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def invoke(
    command: Coroutine[Any, Any, None], *, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
) -> None:
    """Runs the coroutine to its end.

    Raises:
        typer.Exit: With the status of the table above, when it did not succeed.
    """
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(command)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except CommandFailed as failure:
        notice(str(failure), style="red")
        raise typer.Exit(failure.status) from None
    except NoConnection as failure:
        notice(str(failure), style="red")
        raise typer.Exit(5) from None
    except OSError as failure:
        notice(f"{failure.filename}: {failure.strerror}" if failure.filename else str(failure), style="red")
        raise typer.Exit(2) from None
    except grpc.aio.AioRpcError as failure:
        raise typer.Exit(_report(error_of(failure))) from None
    except DomainError as failure:
        raise typer.Exit(_report(failure)) from None


def _report(error: DomainError) -> int:
    if isinstance(error, InvalidArgument) and error.violations:
        for violation in error.violations:
            # `graph_json` is the contract's name of what people call the graph.
            field = violation.field.replace("_json", "")
            notice(f"{field}: {violation.message}", style="red")
    elif isinstance(error, Unavailable) and error.reason == "UNAVAILABLE":  # gRPC's own words name its sockets
        notice("The installation cannot be reached, or is starting.", style="red")
    else:
        notice(str(error), style="red")
    if isinstance(error, Unauthenticated | Unavailable):
        notice(_WHERE)
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 2)
