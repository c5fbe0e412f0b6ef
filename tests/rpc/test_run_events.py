"""The run room among others: facts by JetStream, words between its replicas by core NATS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from datetime import timedelta

import pytest
import pytest_asyncio
from comfyfleet.events.v1 import event_pb2
from comfyfleet.run.v1 import run_pb2, run_service_pb2
from nats.js.errors import NoStreamResponseError

from services.common.background import background
from services.common.clock import SystemClock
from services.common.events.consumer import run_consumer
from services.common.events.hints import open_hints
from services.common.events.nats import Nats, open_nats
from services.common.events.outbox import Relay
from services.common.sql import Database
from services.run.consumer import hear_registry
from services.run.model.progress import RunPreview, RunProgress
from services.run.peers.facts import RunOutbox
from tests.rpc.run_rig import ALICE, DEADLINE, TEAM_A, RunRig, open_run_rig
from tests.servers.eventually import eventually
from tests.servers.nats import NatsServer

GRAPH = b'{"3":{"class_type":"Any","inputs":{"seed":0}}}'


@pytest.fixture
def room() -> str:
    return "run"


class TwoReplicas:
    """Two doors over one database, each with its own connection to the event bus."""

    def __init__(self, *, first: RunRig, second: RunRig) -> None:
        self.first = first
        self.second = second


@pytest_asyncio.fixture
async def replicas(database: Database, nats_server: NatsServer) -> AsyncIterator[TwoReplicas]:
    async with AsyncExitStack() as stack:
        rigs: list[RunRig] = []
        for name in ("first", "second"):
            connection = await stack.enter_async_context(open_nats(url=nats_server.url, name=name))
            await connection.wait_connected()
            hints = await stack.enter_async_context(open_hints(nats=connection))
            rigs.append(await stack.enter_async_context(open_run_rig(database, hints=hints)))
        yield TwoReplicas(first=rigs[0], second=rigs[1])


async def test_watcher_at_one_replica_sees_what_happens_at_the_other(replicas: TwoReplicas) -> None:
    first, second = replicas.first, replicas.second
    run_id = (await first.create(graph_json=GRAPH)).run.id
    watch = second.watch(run_id, previews=True)
    await watch.next()
    assert second.feed.preview_wanted(run_id)

    async def heard() -> bool:
        return first.feed.preview_wanted(run_id)

    assert await eventually(heard, within_seconds=DEADLINE), "that somebody wants previews is told, and told again"
    async with asyncio.timeout(4):  # sooner than the watcher would look by itself
        await first.fleet.dispatch(run_id)
        assert [event.sequence for event in await watch.some(2)] == [2, 3]
    first.feed.progress(run_id, RunProgress(attempt=1, fraction=0.25, elapsed=timedelta(seconds=1)))
    assert (await watch.next()).progress.fraction == 0.25
    image = b"\n\x00png"
    first.feed.preview(run_id, RunPreview(attempt=1, node_id="3", media_type="image/png", image=image, number=2))
    assert (await watch.next()).preview.image == image
    await first.fleet.start(run_id)
    await first.fleet.end(run_id)
    events = await watch.rest()
    assert [event.sequence for event in events] == [4, 5]
    assert events[-1].state_changed.run.state == run_pb2.RUN_STATE_SUCCEEDED


async def test_watcher_of_many_runs_hears_the_other_replica(replicas: TwoReplicas) -> None:
    first, second = replicas.first, replicas.second
    call = second.stub.WatchRuns(run_service_pb2.WatchRunsRequest(), metadata=ALICE, timeout=DEADLINE)
    seen = aiter(call)
    run_id = (await first.create(graph_json=GRAPH)).run.id
    assert (await anext(seen)).run.id == run_id
    call.cancel()


async def test_facts_of_a_run_reach_other_rooms(database: Database, nats: Nats) -> None:
    facts: list[event_pb2.Event] = []
    came = asyncio.Event()

    async def receive(_subject: str, body: bytes) -> None:
        facts.append(event_pb2.Event.FromString(body))
        came.set()

    relay = Relay(outbox=RunOutbox(database=database, clock=SystemClock()), nats=nats)
    listening = run_consumer(
        nats=nats, durable=f"listener-{database.dialect}", subjects=[f"comfyfleet.{TEAM_A}.run.>"], receive=receive
    )
    async with open_run_rig(database) as rig, background(relay=relay.run(), listening=listening):
        run_id = (await rig.create(graph_json=GRAPH, request_id="r")).run.id
        await rig.fleet.complete(run_id)
        relay.wake()
        async with asyncio.timeout(DEADLINE):
            while f"{run_id}.7" not in {fact.id for fact in facts}:
                came.clear()
                await came.wait()
    mine = [fact for fact in facts if fact.id.startswith(run_id)]
    assert {fact.WhichOneof("fact") for fact in mine} == {"run_state_changed", "run_output_added"}
    assert sorted(int(fact.id.rpartition(".")[2]) for fact in mine) == [1, 3, 4, 5, 6, 7]
    assert {fact.team_id for fact in mine} == {TEAM_A}
    assert {fact.request_id for fact in mine} == {"r"}


async def test_word_of_a_new_version_drops_the_remembered_one(database: Database, nats: Nats) -> None:
    async with open_run_rig(database) as rig:
        workflow = rig.registry.add("portrait", GRAPH)
        assert (await rig.create(workflow="portrait")).run.workflow_version == 1
        rig.registry.add("portrait", GRAPH)
        event = event_pb2.Event(id="e", team_id=TEAM_A)
        event.workflow_version_created.workflow_id = workflow.id
        js = await nats.wait_connected()
        async with background(hearing=hear_registry(nats=nats, workflows=rig.workflows)):

            async def heard() -> bool:
                with suppress(NoStreamResponseError):  # until the one who listens has made it
                    await js.publish(f"comfyfleet.{TEAM_A}.registry.version-created", event.SerializeToString())
                return (await rig.create(workflow="portrait")).run.workflow_version == 2

            async with asyncio.timeout(4):  # sooner than it would be asked for anyway
                assert await eventually(heard, within_seconds=4)
