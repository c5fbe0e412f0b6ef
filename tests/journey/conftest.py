"""One installation for all journeys, and a client of it."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import grpc
import pytest
import pytest_asyncio

from tests.journey.client import Client
from tests.journey.installation import Installation, installation, standin


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """`comfyfleet up` in front of one stand-in backend, shared by all journeys."""
    folder = tmp_path_factory.mktemp("fleet")
    with standin(folder / "backend") as backend, installation(folder / "state", backend) as started:
        yield started


@pytest_asyncio.fixture
async def client(fleet: Installation) -> AsyncIterator[Client]:
    """A REST client with the first key."""
    async with aiohttp.ClientSession(headers=fleet.headers) as session:
        yield Client(session, fleet.url)


@pytest_asyncio.fixture
async def channel(fleet: Installation) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the one public gRPC address."""
    async with grpc.aio.insecure_channel(fleet.grpc) as opened:
        yield opened
