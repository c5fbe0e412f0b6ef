"""The rooms behind the porch: one channel each for the life of the process, and the stubs that REST uses."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
from comfyfleet.access.v1 import access_pb2_grpc
from comfyfleet.file.v1 import file_pb2_grpc
from comfyfleet.registry.v1 import registry_pb2_grpc
from comfyfleet.run.v1 import run_service_pb2_grpc, runner_pb2_grpc

from gateway.settings import GatewaySettings
from services.common.rpc.channel import open_channel
from services.common.rpc.local_channel import LocalMethods

if TYPE_CHECKING:
    from comfyfleet.access.v1.access_pb2_grpc import AccessServiceAsyncStub
    from comfyfleet.file.v1.file_pb2_grpc import FileServiceAsyncStub
    from comfyfleet.registry.v1.registry_pb2_grpc import RegistryServiceAsyncStub
    from comfyfleet.run.v1.run_service_pb2_grpc import RunServiceAsyncStub
    from comfyfleet.run.v1.runner_pb2_grpc import RunnerServiceAsyncStub

SERVICES: Mapping[str, str] = {
    "comfyfleet.registry.v1.RegistryService": "registry",
    "comfyfleet.access.v1.AccessService": "access",
    "comfyfleet.run.v1.RunService": "run",
    "comfyfleet.run.v1.RunQueueService": "run",
    "comfyfleet.run.v1.RunnerService": "run",
    "comfyfleet.file.v1.FileService": "file",
}
"""Services behind the public address, with the room that serves each. DispatcherService is not behind it."""

_IDEMPOTENT: Mapping[str, tuple[str, ...]] = {
    "registry": ("GetWorkflow", "ListWorkflows", "ListVersions", "DiscoverParameters"),
    "access": ("GetTeam", "ListTeams", "ListCredentials"),
    "run": ("GetRun", "ListRuns", "BatchGetRuns", "CancelRun", "WaitRun"),
    "file": ("GetFile", "ListFiles"),
}


@dataclass(frozen=True, kw_only=True)
class Rooms:
    """Channels to the four rooms that have public services."""

    registry_channel: grpc.aio.Channel
    access_channel: grpc.aio.Channel
    run_channel: grpc.aio.Channel
    file_channel: grpc.aio.Channel
    registry: "RegistryServiceAsyncStub" = field(init=False)
    access: "AccessServiceAsyncStub" = field(init=False)
    runs: "RunServiceAsyncStub" = field(init=False)
    runners: "RunnerServiceAsyncStub" = field(init=False)
    files: "FileServiceAsyncStub" = field(init=False)

    def __post_init__(self) -> None:
        made = {
            "registry": registry_pb2_grpc.RegistryServiceStub(self.registry_channel),
            "access": access_pb2_grpc.AccessServiceStub(self.access_channel),
            "runs": run_service_pb2_grpc.RunServiceStub(self.run_channel),
            "runners": runner_pb2_grpc.RunnerServiceStub(self.run_channel),
            "files": file_pb2_grpc.FileServiceStub(self.file_channel),
        }
        for name, stub in made.items():
            object.__setattr__(self, name, stub)

    @property
    def channels(self) -> Mapping[str, grpc.aio.Channel]:
        """Channel by the name of the room."""
        return {
            "registry": self.registry_channel,
            "access": self.access_channel,
            "run": self.run_channel,
            "file": self.file_channel,
        }


@asynccontextmanager
async def open_rooms(settings: GatewaySettings, *, here: LocalMethods | None = None) -> AsyncIterator[Rooms]:
    """Channels to the addresses in `settings`; connected when first used, and again whenever lost.

    `here`: what this process serves itself, and is called without a socket.
    """
    addresses = {
        "registry": settings.registry_address,
        "access": settings.access_address,
        "run": settings.run_address,
        "file": settings.file_address,
    }
    async with AsyncExitStack() as stack:
        channels = {
            f"{room}_channel": await stack.enter_async_context(
                open_channel(address, idempotent=_methods(room), here=here)
            )
            for room, address in addresses.items()
        }
        yield Rooms(**channels)


def _methods(room: str) -> list[str]:
    service = next(name for name, of in SERVICES.items() if of == room)
    return [f"{service}/{method}" for method in _IDEMPOTENT[room]]
