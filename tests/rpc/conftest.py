"""Fixtures of the rpc tier: one event bus connection, and times that no test should need."""

from collections.abc import AsyncIterator

import pytest_asyncio

from services.common.events.nats import Nats, open_nats
from tests.servers.nats import NatsServer


@pytest_asyncio.fixture
async def nats(nats_server: NatsServer) -> AsyncIterator[Nats]:
    """A connection to the session's event bus."""
    async with open_nats(url=nats_server.url, name="test") as opened:
        yield opened
