"""Many watchers of one run: how late each sees its end."""

import asyncio
import time

from comfyfleet.run.v1 import run_service_pb2, run_service_pb2_grpc

from bench.figures import Figures, write_table
from bench.graph import as_bytes
from bench.installation import open_installation
from services.cli.connection import Connection, open_client
from services.cli.following import TERMINAL_STATES


async def measure(*, watchers: int, steps: int) -> None:
    """Prints, for one watcher and for many, how long after the first of them each saw the end."""
    async with open_installation() as machine:
        alone = await _ends(machine.connection, 1, steps)
        many = await _ends(machine.connection, watchers, steps)
    first = min(many)
    print(f"\n{watchers} watchers: all saw the end within {(max(many) - first) * 1000:.1f} ms of the first")
    reference = Figures(name="one watcher", seconds=alone)
    write_table(
        "time from creation to the end as seen", reference, [Figures(name=f"{watchers} watchers", seconds=many)]
    )


async def _ends(connection: Connection, watchers: int, steps: int) -> list[float]:
    graph = {
        "1": {
            "class_type": "StandinSleep",
            "inputs": {"value": time.time_ns(), "seconds": 2.0, "steps": steps, "preview": False},
        },
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }
    async with open_client(connection) as channel:
        stub = run_service_pb2_grpc.RunServiceStub(channel)
        create = run_service_pb2.CreateRunRequest(graph_json=as_bytes(graph))
        begun = time.perf_counter()
        made = (await stub.CreateRun(create, metadata=connection.metadata)).run

        async def watch() -> float:
            request = run_service_pb2.WatchRunRequest(run_id=made.id)
            async for event in stub.WatchRun(request, metadata=connection.metadata):
                if event.WhichOneof("event") == "state_changed" and event.state_changed.state in TERMINAL_STATES:
                    break
            return time.perf_counter() - begun

        return list(await asyncio.gather(*(watch() for _ in range(watchers))))
