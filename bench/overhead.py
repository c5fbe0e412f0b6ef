"""What the fleet costs on top of driving a backend directly, with the trivial graph, on the same backend."""

import statistics
import time
from collections.abc import Awaitable, Callable

from bench.direct import open_direct
from bench.figures import Figures, write_table
from bench.fleet import open_fleet_clients
from bench.graph import TrivialGraphs
from bench.installation import open_installation

_WARM_UP = 10
_BURSTS = 3


async def measure(*, comfyui: str, rounds: int, burst: int) -> None:
    """Prints sequential p50 and p95 and burst rates, with ratios to direct."""
    graphs = TrivialGraphs()
    async with open_installation(comfyui=comfyui) as machine:
        backend = comfyui or machine.backend_urls[0]
        async with open_direct(backend) as direct, open_fleet_clients(machine.connection) as (rest, rpc):
            ways: dict[str, Callable[[dict[str, object]], Awaitable[bytes]]] = {
                "direct": direct.run,
                "REST with SSE": rest.run,
                "gRPC ExecuteRun": rpc.run,
            }
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            for count in range(_WARM_UP + rounds):
                for name, way in ways.items():
                    # A folder of its own, so that direct saves are not slowed by a growing one either.
                    graph = graphs.next(prefix=f"bench-{count}/picture" if name == "direct" else "picture")
                    begun = time.perf_counter()
                    picture = await way(graph)
                    elapsed = time.perf_counter() - begun
                    assert picture.startswith(b"\x89PNG"), name
                    if count >= _WARM_UP:
                        seconds[name].append(elapsed)
            reference, *others = (Figures(name=name, seconds=values) for name, values in seconds.items())
            write_table(f"{rounds} trivial runs one after another on {backend}", reference, others)
            bursts = {"direct": direct.run_burst, "REST with SSE": rest.run_burst, "gRPC WatchRun": rpc.run_burst}
            rates: dict[str, list[float]] = {name: [] for name in bursts}
            for _ in range(_BURSTS):
                for name, way_burst in bursts.items():
                    made = [graphs.next(prefix=f"burst-{time.time_ns()}/picture") for _ in range(burst)]
                    begun = time.perf_counter()
                    await way_burst(made)
                    rates[name].append(burst / (time.perf_counter() - begun))
    _write_bursts(burst, rates)


def _write_bursts(burst: int, rates: dict[str, list[float]]) -> None:
    """Prints the median rate of each way, its range, and its ratio to direct."""
    print(f"\nbursts of {burst}, 8 requests in flight, {_BURSTS} interleaved\n{'':<22}{'runs/s':>9}{'ratio':>9}")
    direct = statistics.median(rates["direct"])
    for name, seen in rates.items():
        middle = statistics.median(seen)
        print(f"{name:<22}{middle:>9.1f}{middle / direct:>8.2f}x   ({min(seen):.1f} to {max(seen):.1f})")
