"""Node catalogues and runners at the run room's doors."""

import gzip
import json
from collections.abc import AsyncIterator
from hashlib import sha256

import grpc
import pytest
import pytest_asyncio
from comfyfleet.run.v1 import runner_pb2
from sqlalchemy import select

from services.common.sql import Database
from services.run.store.tables import CATALOGUE, ROOM_EVENT
from tests.rpc.queue_rig import ALICE, BOB, DEADLINE, QueueRig, open_queue_rig

OBJECT_INFO = {
    "EmptyImage": {"input": {"required": {"color": ["INT", {"max": 2**70}]}}},
    "SaveImage": {"input": {"required": {"images": ["IMAGE"]}}},
    "CheckpointLoaderSimple": {"input": {"required": {"ckpt_name": [["b.safetensors", "a.ckpt"], {}]}}},
    "LoraLoader": {"input": {"required": {"lora_name": ["COMBO", {"options": ["c.safetensors", "None"]}]}}},
}
BODY = json.dumps(OBJECT_INFO, sort_keys=True, separators=(",", ":")).encode()
HASH = sha256(BODY).hexdigest()


@pytest.fixture
def room() -> str:
    return "run"


@pytest_asyncio.fixture
async def rig(database: Database) -> AsyncIterator[QueueRig]:
    async with open_queue_rig(database) as opened:
        yield opened


async def read(rig: QueueRig, metadata: tuple[tuple[str, str], ...]) -> bytes:
    request = runner_pb2.GetNodeCatalogueRequest(catalogue_hash=HASH)
    call = rig.runners.GetNodeCatalogue(request, metadata=metadata, timeout=DEADLINE)
    return b"".join([part.chunk async for part in call])


async def test_a_catalogue_is_wanted_until_it_is_there_and_decides_then(rig: QueueRig) -> None:
    garage = await rig.attached("ak-alice", capabilities_hash=HASH)
    await garage.until(lambda desired: list(desired.wanted_catalogues) == [HASH])
    run = await rig.create()  # nobody knows yet what the runner can do
    await garage.upload(HASH, BODY)
    await garage.until(lambda desired: not desired.wanted_catalogues)
    held = await garage.assigned(run.id)
    garage.finish(held)
    await rig.ended(run.id)
    rare = await rig.create(graph_json=b'{"1":{"class_type":"Rare","inputs":{}}}')
    after = await rig.create()
    await garage.assigned(after.id)
    assert all(one.run_id != rare.id for one in garage.desired[-1].executions)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rig.create(graph_json=b'{"1":{"class_type":"Rare","inputs":{}}}', require_runner=True)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_catalogue_is_read_by_teams_that_it_concerns(rig: QueueRig, database: Database) -> None:
    garage = await rig.attached("ak-alice", capabilities_hash=HASH)
    await garage.upload(HASH, BODY)
    await garage.upload(HASH, BODY)
    assert await read(rig, ALICE) == BODY
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await read(rig, BOB)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    row = await database.read(lambda session: session.connection().execute(select(CATALOGUE)).one())
    assert gzip.decompress(row.body) == BODY
    assert row.node_classes == sorted(OBJECT_INFO)
    assert row.model_names == ["a.ckpt", "b.safetensors", "c.safetensors"]
    facts = await database.read(lambda session: session.connection().execute(select(ROOM_EVENT.c.type)).scalars().all())
    assert sorted(facts) == ["CATALOGUE_SEEN", "RUNNER_CHANGED"]


@pytest.mark.parametrize(
    ("announced", "body", "code"),
    [
        (HASH, b"{}", grpc.StatusCode.INVALID_ARGUMENT),
        (sha256(b"[]").hexdigest(), b"[]", grpc.StatusCode.INVALID_ARGUMENT),
        (sha256(b"{").hexdigest(), b"{", grpc.StatusCode.INVALID_ARGUMENT),
        ("0" * 64, b"{}", grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_what_is_no_catalogue_is_refused(
    rig: QueueRig, announced: str, body: bytes, code: grpc.StatusCode
) -> None:
    garage = await rig.attached(capabilities_hash=announced if code is grpc.StatusCode.INVALID_ARGUMENT else HASH)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await garage.upload(announced, body)
    assert refused.value.code() is code


async def test_runners_are_listed_in_pages(rig: QueueRig) -> None:
    for number in range(3):
        await rig.attached("ak-fleet", f"d{number}", local_key=f"gpu-{number}", tags=["big"], region="eu")
    first = await rig.runners.ListRunners(runner_pb2.ListRunnersRequest(page_size=2), metadata=ALICE, timeout=DEADLINE)
    request = runner_pb2.ListRunnersRequest(page_size=2, page_token=first.next_page_token)
    rest = await rig.runners.ListRunners(request, metadata=ALICE, timeout=DEADLINE)
    seen = [*first.runners, *rest.runners]
    assert [one.local_key for one in seen] == ["gpu-0", "gpu-1", "gpu-2"]
    assert [one.dispatcher_id for one in seen] == ["d0", "d1", "d2"]
    assert not rest.next_page_token
    one = seen[0]
    assert (one.scope, one.health) == (runner_pb2.RUNNER_SCOPE_FLEET, runner_pb2.RUNNER_HEALTH_HEALTHY)
    assert (list(one.tags), one.region, one.team_id) == (["big"], "eu", "")
    got = await rig.runners.GetRunner(runner_pb2.GetRunnerRequest(runner_id=one.id), metadata=BOB, timeout=DEADLINE)
    assert got.runner.id == one.id
    bad = runner_pb2.ListRunnersRequest(page_token="x")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rig.runners.ListRunners(bad, metadata=ALICE, timeout=DEADLINE)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
