"""One machine's installation: which processes it has, with which addresses and secrets."""

import contextlib
import fcntl
import json
import os
import sys
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.cli.connection import Connection
from services.cli.installation import InstallationSecrets, load_or_make_secrets
from services.cli.supervisor.child import ChildSpec
from services.cli.supervisor.family import Family, open_family
from services.cli.supervisor.nats_server import nats_server_spec
from services.cli.supervisor.ports import free_ports, is_free
from services.common.errors import FailedPrecondition

FRONT_AND_BACK: Mapping[str, Sequence[str]] = {
    "front": ("gateway", "access", "registry", "run", "file"),
    "back": ("dispatcher", "standin"),
}
"""What `up` runs: two Python processes, which is faster than one (two cores) and than five (fewer hops)."""

APART: Mapping[str, Sequence[str]] = {
    member: (member,) for member in ("access", "registry", "file", "run", "gateway", "standin", "dispatcher")
}
"""Every member in a process of its own, as in a cluster."""


@dataclass(frozen=True, kw_only=True)
class MachinePlan:
    """What is wanted. Ports of 0 mean any free one; no `comfyui` means the stand-in backend.

    `settings` are further COMFYFLEET_… words for every member.
    """

    state: Path
    port: int
    grpc_port: int
    comfyui: Sequence[str] = ()
    host: str = "127.0.0.1"
    log_folder: Path | None = None
    processes: Mapping[str, Sequence[str]] = field(default_factory=lambda: FRONT_AND_BACK)
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The running installation. `key` of its connection is the first key, None once that was revoked."""

    connection: Connection
    family: Family
    addresses: Mapping[str, str]
    """host:port of each process's own gRPC server, by the process's name."""
    backend_urls: Sequence[str]
    """Addresses of the backends that its dispatcher drives."""


@contextlib.asynccontextmanager
async def open_machine(plan: MachinePlan) -> AsyncIterator[Machine]:
    """Starts everything that one machine needs, in this order, and stops it in the reverse.

    1. The state folder is locked: one supervisor at a time.
    2. Secrets, schemas, first team and keys are made where they are missing.
    3. The event bus, then the members' processes start; each is started again when it dies.

    Raises:
        FailedPrecondition: Another supervisor has this state (STATE_IN_USE), or a port is taken (PORT_IN_USE).
        ExceptionGroup: With ChildGaveUp, when a child cannot be kept alive.
    """
    # Only here: commands that merely ask an installation something must not load all of its rooms.
    from services.common.settings import Settings
    from services.compose import ROOMS, bootstrap_installation, migrate_rooms

    plan.state.mkdir(parents=True, exist_ok=True)
    with _locked(plan.state):
        shared = load_or_make_secrets(plan.state)
        http, public = _outer_addresses(plan)
        ports = free_ports(len(plan.processes) + 3)
        nats_port, dispatcher_port, standin_port = ports[:3]
        inner = {name: f"127.0.0.1:{port}" for name, port in zip(plan.processes, ports[3:], strict=True)}
        environment = {
            **_shared_environment(plan, shared),
            **_room_addresses(plan, inner, ROOMS),
            "COMFYFLEET_NATS_URL": f"nats://127.0.0.1:{nats_port}",
            "COMFYFLEET_HTTP_LISTEN": http,
            "COMFYFLEET_GRPC_LISTEN": public,
            "COMFYFLEET_DISPATCHER_LISTEN": f"127.0.0.1:{dispatcher_port}",
            "COMFYFLEET_STANDIN_LISTEN": f"127.0.0.1:{standin_port}",
            "COMFYFLEET_COMFYUI_URLS": json.dumps(list(plan.comfyui) or [f"http://127.0.0.1:{standin_port}"]),
            **plan.settings,
        }
        settings = Settings.model_validate(_fields(environment))
        await migrate_rooms(settings)
        keys = await bootstrap_installation(settings)
        environment["COMFYFLEET_AGENT_SECRET"] = keys.agent_secret
        specs = [
            nats_server_spec(state=plan.state, port=nats_port, token=shared.nats_token, log=_log(plan, "nats")),
            *_member_specs(plan, inner, environment),
        ]
        connection = Connection(url=f"http://{http}", grpc=public, key=keys.first_key)
        async with open_family(specs) as family:
            backends = json.loads(environment["COMFYFLEET_COMFYUI_URLS"])
            yield Machine(connection=connection, family=family, addresses=inner, backend_urls=backends)


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    with (state / "up.lock").open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FailedPrecondition(
                f"Another `comfyfleet up` runs on {state}; stop it, or choose another --state.", reason="STATE_IN_USE"
            ) from None
        yield


def _outer_addresses(plan: MachinePlan) -> tuple[str, str]:
    for port in (plan.port, plan.grpc_port):
        if port and not is_free(port, host=plan.host):
            raise FailedPrecondition(f"Port {port} is taken; choose another, or 0 for any.", reason="PORT_IN_USE")
    http_port, grpc_port = free_ports(2, host=plan.host)
    return f"{plan.host}:{plan.port or http_port}", f"{plan.host}:{plan.grpc_port or grpc_port}"


def _shared_environment(plan: MachinePlan, shared: InstallationSecrets) -> dict[str, str]:
    return {
        "COMFYFLEET_STATE_DIR": str(plan.state),
        "COMFYFLEET_FLEET_ID": shared.fleet_id,
        "COMFYFLEET_SERVICE_SECRETS": json.dumps([shared.service_secret]),
        "COMFYFLEET_GRANT_PRIVATE_KEY": shared.grant_private_key,
        "COMFYFLEET_GRANT_PUBLIC_KEYS": json.dumps([shared.grant_public_key]),
        "COMFYFLEET_NATS_TOKEN": shared.nats_token,
    }


def _room_addresses(plan: MachinePlan, inner: Mapping[str, str], rooms: Collection[str]) -> dict[str, str]:
    addresses = {}
    for process, members in plan.processes.items():
        for room in set(members) & set(rooms):
            addresses[f"COMFYFLEET_{room.upper()}_ADDRESS"] = inner[process]
    return addresses


def _fields(environment: Mapping[str, str]) -> dict[str, object]:
    """The same words as settings, for what the supervisor itself does."""
    fields: dict[str, object] = {}
    for name, text in environment.items():
        fields[name.removeprefix("COMFYFLEET_").lower()] = json.loads(text) if text.startswith("[") else text
    return fields


_HEAPS = "MALLOC_ARENA_MAX"
"""Of glibc: by default it keeps one for each of many threads, and what one of them frees is not used by the others."""


def _member_specs(plan: MachinePlan, inner: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[ChildSpec]:
    for name, members in plan.processes.items():
        served = [member for member in members if member != "standin" or not plan.comfyui]
        if served:
            yield ChildSpec(
                name=name,
                argv=[sys.executable, "-m", "services.cli", "serve", *served],
                environment={_HEAPS: os.environ.get(_HEAPS, "2"), **environment, "COMFYFLEET_LISTEN": inner[name]},
                log=_log(plan, name),
            )


def _log(plan: MachinePlan, name: str) -> Path | None:
    return plan.log_folder / f"{name}.log" if plan.log_folder is not None else None
