"""An installation of its own for one measurement, in a folder that goes afterwards."""

import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from services.cli.supervisor.machine import FRONT_AND_BACK, Machine, MachinePlan, open_machine
from services.common.logging import configure_logging


@contextlib.asynccontextmanager
async def open_installation(
    *, comfyui: str = "", processes: Mapping[str, Sequence[str]] = FRONT_AND_BACK
) -> AsyncIterator[Machine]:
    """Starts an installation and waits until every member serves. Its logs go with it."""
    configure_logging(member="bench", level="warning", to=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="comfyfleet-bench-") as folder:
        plan = MachinePlan(
            state=Path(folder) / "state",
            port=0,
            grpc_port=0,
            comfyui=[comfyui] if comfyui else [],
            log_folder=Path(folder) / "logs",
            processes=processes,
        )
        async with open_machine(plan) as machine:
            await machine.family.wait_ready()
            yield machine
