"""The file room on the event bus: what it tells, and what it does when a run has ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from comfyfleet.events.v1 import event_pb2
from comfyfleet.run.v1 import run_pb2
from grpc import StatusCode
from grpc.aio import AioRpcError
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from services.common.events.nats import Nats, open_nats
from services.common.events.stream import STREAM
from services.common.ids import new_id
from services.file.consumer import DURABLE
from tests.rpc.file_rig import DEADLINE, TEAM_A, FileRig, open_file_rig
from tests.servers.nats import NatsServer


@asynccontextmanager
async def on_the_bus(server: NatsServer, state: Path) -> AsyncIterator[tuple[FileRig, Nats]]:
    async with (
        open_nats(url=server.url, name="test") as outside,
        open_nats(url=server.url, name="file") as nats,
        open_file_rig(state, nats=nats) as rig,
    ):
        await stream_made(await asyncio.wait_for(outside.wait_connected(), DEADLINE))
        yield rig, outside


async def stream_made(js: JetStreamContext) -> None:
    """Wait until the room has made the stream, which it does when it begins to listen."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                await js.consumer_info(STREAM, DURABLE)
            except NotFoundError:
                await asyncio.sleep(0.01)
            else:
                return


async def publish(nats: Nats, run_id: str, state: "run_pb2.RunState.ValueType") -> None:
    event = event_pb2.Event(id=new_id(), team_id=TEAM_A, request_id="from-run")
    event.run_state_changed.run_id = run_id
    event.run_state_changed.state = state
    js = await nats.wait_connected()
    await js.publish(f"comfyfleet.{TEAM_A}.run.run_state_changed", event.SerializeToString())


async def is_there(rig: FileRig, file_id: str) -> bool:
    try:
        await rig.get(file_id)
    except AioRpcError as error:
        if error.code() is not StatusCode.NOT_FOUND:
            raise
        return False
    return True


async def test_inputs_are_gone_within_a_second_of_the_runs_end(nats_server: NatsServer, tmp_path: Path) -> None:
    async with on_the_bus(nats_server, tmp_path) as (rig, nats):
        going, staying, run_id = await rig.put(b"1"), await rig.put(b"2"), new_id()
        await rig.bind(run_id, going.id, delete_at_end=True)
        await rig.bind(other := new_id(), staying.id)
        await publish(nats, run_id, run_pb2.RUN_STATE_RUNNING)
        await publish(nats, other, run_pb2.RUN_STATE_FAILED)
        await publish(nats, run_id, run_pb2.RUN_STATE_SUCCEEDED)
        began = asyncio.get_running_loop().time()
        while await is_there(rig, going.id):
            assert asyncio.get_running_loop().time() - began < 1
        await rig.delete(staying.id)
        assert rig.runs.asked == []


async def test_stored_and_deleted_files_are_told(nats_server: NatsServer, tmp_path: Path) -> None:
    async with on_the_bus(nats_server, tmp_path) as (rig, nats):
        js = await nats.wait_connected()
        config = ConsumerConfig(deliver_policy=DeliverPolicy.NEW)
        told = await js.subscribe(f"comfyfleet.{TEAM_A}.file.>", ordered_consumer=True, config=config)
        run_id = new_id()
        token = rig.token(run_id)
        origin = {"run_id": run_id, "attempt": 1, "node_id": "9", "key": "images", "position": 0}
        file = await rig.put(b"x", token, origin=origin)
        await rig.delete(file.id)
        stored, deleted = [await told.next_msg(DEADLINE) for _ in range(2)]
        assert stored.subject.endswith(".file_stored")
        event = event_pb2.Event.FromString(stored.data)
        assert (event.team_id, event.file_stored.file_id) == (TEAM_A, file.id)
        assert (event.file_stored.sha256, event.file_stored.origin_run_id) == (file.sha256, run_id)
        assert event.request_id
        assert event_pb2.Event.FromString(deleted.data).file_deleted.file_id == file.id
        await told.unsubscribe()
