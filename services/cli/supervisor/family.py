"""All children of one `up`: started together, stopped in order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from services.cli.supervisor.child import Child, ChildSpec


class Family:
    """The running children, in the order in which they were started."""

    def __init__(self, children: Sequence[Child]) -> None:
        self.children = children

    async def wait_ready(self) -> None:
        """Returns once every child serves."""
        for child in self.children:
            await child.ready.wait()


@contextlib.asynccontextmanager
async def open_family(specs: Sequence[ChildSpec]) -> AsyncIterator[Family]:
    """Keeps the children running while the block runs; stops them, last started first, when it ends.

    Raises:
        ExceptionGroup: With ChildGaveUp, when a child cannot be kept alive; the block is cancelled then.
    """
    children = [Child(spec) for spec in specs]
    async with asyncio.TaskGroup() as tasks:
        for child in children:
            tasks.create_task(child.run(), name=f"child {child.spec.name}")
        try:
            yield Family(children)
        finally:
            # Shielded: a cancelled block must not leave children behind.
            await asyncio.shield(_stop_all(children))


async def _stop_all(children: Sequence[Child]) -> None:
    for child in reversed(children):
        await child.stop()
