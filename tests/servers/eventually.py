"""Waits for what another process does and nobody announces: asked again and again, until a deadline."""

import asyncio
from collections.abc import Awaitable, Callable

ASK_AGAIN_SECONDS = 0.02


async def eventually(holds: Callable[[], Awaitable[bool]], *, within_seconds: float) -> bool:
    """Whether `holds` came to be true in time."""
    try:
        async with asyncio.timeout(within_seconds):
            while not await holds():  # noqa: ASYNC110 - another process: there is no event to wait for
                await asyncio.sleep(ASK_AGAIN_SECONDS)
    except TimeoutError:
        return False
    return True
