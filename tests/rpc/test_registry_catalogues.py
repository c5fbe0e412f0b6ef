"""The catalogues that type graphs: found, kept, asked for again."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from comfyfleet.events.v1 import event_pb2
from nats.js.errors import NoStreamResponseError

from services.common.clock import SystemClock
from services.common.errors import NotFound, Unavailable
from services.common.events.nats import Nats
from services.common.ids import new_id
from services.common.sql import Database
from services.registry.service import CatalogueLibrary
from services.registry.store import CatalogueStore
from tests.rpc.registry_rig import RED, open_registry
from tests.servers.databases import Databases

DEADLINE = 10.0
GRAPH_CLASSES = ["A", "B"]


@pytest.fixture(params=["sqlite"])
def databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """One kind is enough here: the contract suite runs the rows on both."""
    return Databases(folder=tmp_path_factory.mktemp("databases"), postgres=None)


@pytest.fixture
def room() -> str:
    return "registry"


class Shelf:
    """A `Catalogues` in a dict, which can be away."""

    def __init__(self, **catalogues: dict[str, Any]) -> None:
        self.catalogues = catalogues
        self.listed: list[str] | None = None
        """What `hashes` answers instead of what there is."""
        self.away = False
        self.asked = 0
        self.read = 0

    async def hashes(self, team_id: str) -> Sequence[str]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("Away.", reason="AWAY")
        return self.listed or list(self.catalogues)

    async def body(self, team_id: str, hash_: str) -> bytes:
        self.read += 1
        if hash_ not in self.catalogues:
            raise NotFound("Gone.", reason="GONE")
        return json.dumps(self.catalogues[hash_]).encode()


def _library(database: Database, shelf: Shelf) -> CatalogueLibrary:
    return CatalogueLibrary(catalogues=shelf, store=CatalogueStore(database=database), clock=SystemClock())


async def _best(library: CatalogueLibrary) -> str | None:
    catalogue = await library.best_for(RED, GRAPH_CLASSES)
    return None if catalogue is None else catalogue.hash


async def test_callers_at_once_share_one_question(database: Database) -> None:
    shelf = Shelf(h={"A": {}, "B": {}})
    library = _library(database, shelf)
    assert await asyncio.gather(*(_best(library) for _ in range(20))) == ["h"] * 20
    assert (shelf.asked, shelf.read) == (1, 1)


async def test_the_first_that_knows_the_whole_graph_is_enough(database: Database) -> None:
    shelf = Shelf(one={"A": {}}, two={"A": {}, "B": {}}, three={"A": {}, "B": {}, "C": {}})
    assert await _best(_library(database, shelf)) == "two"
    assert shelf.read == 2


async def test_what_was_known_is_used_while_the_run_room_is_away(database: Database) -> None:
    shelf = Shelf(h={"A": {}})
    library = _library(database, shelf)
    assert await _best(library) == "h"
    shelf.away = True
    library.forget()
    assert await _best(library) == "h"
    assert await _best(library) == "h"
    assert shelf.asked == 2


async def test_after_news_the_run_room_is_asked_again(database: Database) -> None:
    shelf = Shelf(h={"A": {}})
    library = _library(database, shelf)
    assert await _best(library) == "h"
    shelf.catalogues["better"] = {"A": {}, "B": {}}
    assert await _best(library) == "h"
    library.forget()
    assert await _best(library) == "better"


async def test_a_catalogue_that_cannot_be_read_is_passed_over(database: Database) -> None:
    shelf = Shelf(h={"A": {}})
    library = _library(database, shelf)
    shelf.listed = ["gone", "h"]
    assert await _best(library) == "h"


async def test_news_of_a_catalogue_types_the_next_graph(database: Database, nats: Nats) -> None:
    graph_json = json.dumps({"1": {"class_type": "A", "inputs": {"x": 1}}}).encode()
    async with open_registry(database=database, nats=nats, catalogue_ttl=timedelta(hours=1)) as registry:
        registry.runners.attach({"Other": {}})
        before = await registry.call("DiscoverParameters", graph_json=graph_json)
        hash_ = registry.runners.attach({"A": {"input": {"required": {"x": ["FLOAT"]}}}})
        js = await asyncio.wait_for(nats.wait_connected(), DEADLINE)
        async with asyncio.timeout(DEADLINE):
            while True:  # only what is told after the consumer's making reaches it
                event = event_pb2.Event(id=new_id(), catalogue_seen=event_pb2.CatalogueSeen(catalogue_hash=hash_))
                with suppress(NoStreamResponseError):  # the consumer makes the stream
                    await js.publish("comfyfleet.fleet.run.catalogue_seen", event.SerializeToString())
                found = await registry.call("DiscoverParameters", graph_json=graph_json)
                if found.catalogue_hash != before.catalogue_hash:
                    break
        assert found.catalogue_hash == hash_
