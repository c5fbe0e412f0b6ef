"""How a command reaches an installation: address and key from options, the environment, or a running `up`."""

import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc

from services.cli.installation import default_state, write_private

_MAX_MESSAGE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where an installation is and who asks. `url` is the REST address, `grpc` is host:port."""

    url: str
    grpc: str
    key: str | None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        return (("authorization", f"Bearer {self.key}"),) if self.key else ()


class NoConnection(Exception):
    """Nothing says where the installation is."""


def find_connection() -> Connection:
    """Reads `COMFYFLEET_URL`, `COMFYFLEET_GRPC` and `COMFYFLEET_KEY`, then what the last `up` wrote into its state.

    Raises:
        NoConnection: Neither is there.
    """
    known = _read(default_state() / "connection.json")
    url = os.environ.get("COMFYFLEET_URL") or (known.url if known else "")
    address = os.environ.get("COMFYFLEET_GRPC") or (known.grpc if known else "")
    # The key of this machine's installation is for that one only: another address must not get to see it.
    own = known.key if known is not None and known.grpc == address else None
    key = os.environ.get("COMFYFLEET_KEY") or own
    if not address:
        raise NoConnection("set COMFYFLEET_GRPC and COMFYFLEET_KEY, or start an installation with `comfyfleet up`")
    return Connection(url=url, grpc=address, key=key)


def write_connection(state: Path, connection: Connection) -> None:
    """Leaves word for commands on the same machine, readable by its owner only."""
    document = {"url": connection.url, "grpc": connection.grpc, "key": connection.key}
    write_private(state / "connection.json", json.dumps(document))


@contextlib.asynccontextmanager
async def open_client(connection: Connection) -> AsyncIterator[grpc.aio.Channel]:
    """Opens the one channel of a command. Every call on it needs `connection.metadata`."""
    options = [
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ]
    async with grpc.aio.insecure_channel(connection.grpc, options=options) as channel:
        yield channel


def _read(path: Path) -> Connection | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Connection(url=document["url"], grpc=document["grpc"], key=document["key"])
