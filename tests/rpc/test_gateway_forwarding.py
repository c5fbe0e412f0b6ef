"""The one public gRPC address, in front of scripted rooms: clients cannot tell it from a room."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from comfyfleet.dispatcher.v1 import dispatcher_pb2, dispatcher_pb2_grpc
from comfyfleet.file.v1 import file_pb2, file_pb2_grpc
from comfyfleet.run.v1 import (
    run_event_pb2,
    run_queue_pb2,
    run_queue_pb2_grpc,
    run_service_pb2,
    run_service_pb2_grpc,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gateway import request_stream
from gateway.porch import open_gateway
from gateway.rooms import SERVICES
from services.common.errors import NotFound, OutOfRange
from services.common.status import error_of
from tests.rpc.gateway_rig import Rig, open_rig, settings_for
from tests.rpc.scripted_rooms import ScriptedRooms


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    async with open_rig() as made:
        yield made


async def test_unary_call_goes_through_with_metadata_and_deadline(rig: Rig) -> None:
    stub = run_service_pb2_grpc.RunServiceStub(rig.channel)
    metadata = (("authorization", "Bearer sk-1"), ("x-request-id", "mine"), ("x-raw-bin", b"\x00\xff"))
    asked = run_service_pb2.GetRunRequest(run_id=rig.rooms.runs.run.id)
    got = await stub.GetRun(asked, metadata=metadata, timeout=5)
    assert got.run == rig.rooms.runs.run
    seen = rig.rooms.runs.metadata
    assert (seen["authorization"], seen["x-request-id"], seen["x-raw-bin"]) == ("Bearer sk-1", "mine", b"\x00\xff")
    assert rig.rooms.runs.time_remaining is not None
    assert 0 < rig.rooms.runs.time_remaining <= 5.05  # gRPC rounds deadlines up, by 10 ms at each hop


async def test_rich_status_arrives_as_the_room_sent_it(rig: Rig) -> None:
    stub = run_service_pb2_grpc.RunServiceStub(rig.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetRun(run_service_pb2.GetRunRequest(run_id="nobody"))
    error = error_of(caught.value)
    assert isinstance(error, NotFound)
    assert (error.message, error.reason, error.metadata) == ("There is no such run.", "RUN_NOT_FOUND", {"run": "x"})


async def test_server_stream_arrives_as_it_comes_and_its_cancellation_reaches_the_room(rig: Rig) -> None:
    runs = rig.rooms.runs
    stub = run_service_pb2_grpc.RunServiceStub(rig.channel)
    call = stub.WatchRun(run_service_pb2.WatchRunRequest(run_id=runs.run.id))
    first = await call.read()
    assert isinstance(first, run_event_pb2.RunEvent)
    assert first.HasField("snapshot")
    await runs.append(cancel_requested=run_event_pb2.RunCancelRequest())
    second = await call.read()
    assert isinstance(second, run_event_pb2.RunEvent)
    assert second.sequence == 1
    call.cancel()
    await runs.cancelled.wait()


async def test_deadline_of_a_stream_ends_it_at_the_room_too(rig: Rig) -> None:
    stub = run_service_pb2_grpc.RunServiceStub(rig.channel)
    call = stub.WatchRun(run_service_pb2.WatchRunRequest(run_id=rig.rooms.runs.run.id), timeout=0.3)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await rig.rooms.runs.cancelled.wait()


async def test_client_stream_and_its_trailers_go_through(rig: Rig) -> None:
    stub = run_queue_pb2_grpc.RunQueueServiceStub(rig.channel)

    async def previews() -> AsyncIterator[run_queue_pb2.PreviewFrame]:
        for number in range(3):
            yield run_queue_pb2.PreviewFrame(number=number)

    call = stub.PublishPreviews(previews())
    await call
    assert ("x-seen", "3") in tuple(await call.trailing_metadata())


async def test_both_ways_of_a_stream_go_in_step(rig: Rig) -> None:
    call = run_queue_pb2_grpc.RunQueueServiceStub(rig.channel).Synchronize()
    for number in range(1, 4):
        await call.write(run_queue_pb2.CurrentState(message_number=number))
        answer = await call.read()
        assert isinstance(answer, run_queue_pb2.DesiredState)
        assert answer.version == number
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_room_that_refuses_early_ends_an_upload(rig: Rig) -> None:
    rig.rooms.files.max_bytes = 1_000_000
    call = file_pb2_grpc.FileServiceStub(rig.channel).UploadFile()
    chunk = file_pb2.UploadFileRequest(chunk=b"x" * 262_144).SerializeToString()
    # Not by `call.write`, which may turn the refusal into an INTERNAL of its own.
    while await request_stream.send(call, chunk):
        pass
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert isinstance(error_of(caught.value), OutOfRange)


async def test_messages_of_many_megabytes_go_through(rig: Rig) -> None:
    stub = run_service_pb2_grpc.RunServiceStub(rig.channel)
    graph = b"[" + b" " * (15 * 1024 * 1024) + b"]"
    await stub.CreateRun(run_service_pb2.CreateRunRequest(graph_json=graph))
    assert rig.rooms.runs.created[0].graph_json == graph


async def test_what_only_rooms_may_say_is_refused_or_dropped(rig: Rig) -> None:
    stub = run_service_pb2_grpc.RunServiceStub(rig.channel)
    asked = run_service_pb2.GetRunRequest(run_id=rig.rooms.runs.run.id)
    for metadata in ((("authorization", "Bearer svc-x"),), (("authorization", "a"), ("x-api-key", "svc-x"))):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetRun(asked, metadata=metadata)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert rig.rooms.runs.metadata == {}
    await stub.GetRun(asked, metadata=(("x-comfyfleet-team", "theirs"),))
    assert "x-comfyfleet-team" not in rig.rooms.runs.metadata


async def test_dispatchers_own_service_is_not_behind_the_address(rig: Rig) -> None:
    stub = dispatcher_pb2_grpc.DispatcherServiceStub(rig.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetStatus(dispatcher_pb2.GetStatusRequest())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_room_that_is_away_is_unavailable_without_its_address(rig: Rig) -> None:
    await rig.rooms.stop()
    stub = run_queue_pb2_grpc.RunQueueServiceStub(rig.channel)
    call = stub.Synchronize()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert rig.rooms.address not in (caught.value.details() or "")


async def test_health_is_that_of_the_rooms(rig: Rig) -> None:
    stub: Any = health_pb2_grpc.HealthStub(rig.channel)
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    for name in ("", *SERVICES):
        assert (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status == serving
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="comfyfleet.dispatcher.v1.DispatcherService"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="comfyfleet.file.v1.FileService"))
    assert (await watch.read()).status == serving
    await rig.rooms.health.set("comfyfleet.file.v1.FileService", not_serving)
    assert (await watch.read()).status == not_serving
    assert (await stub.Check(health_pb2.HealthCheckRequest())).status == not_serving
    watch.cancel()


async def test_reflection_names_every_service(rig: Rig) -> None:
    channel: Any = rig.channel
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    names = {one.name for one in (await call.read()).list_services_response.service}
    assert set(SERVICES) <= names
    await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol="comfyfleet.run.v1.RunService"))
    assert (await call.read()).file_descriptor_response.file_descriptor_proto
    await call.done_writing()


async def test_stopping_gateway_ends_endless_calls_at_once() -> None:
    async with ScriptedRooms().serving() as rooms, contextlib.AsyncExitStack() as clients, asyncio.timeout(8):
        async with open_gateway(settings=settings_for(rooms)) as gateway:
            address = f"127.0.0.1:{gateway.grpc_port}"
            channel = await clients.enter_async_context(grpc.aio.insecure_channel(address))
            call = run_queue_pb2_grpc.RunQueueServiceStub(channel).Synchronize()
            await call.write(run_queue_pb2.CurrentState(message_number=1))
            await anext(aiter(call))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(aiter(call))
    assert error_of(caught.value).reason == "SERVER_STOPPING"


async def test_upload_that_is_cut_never_looks_complete_to_the_room(rig: Rig) -> None:
    stub = file_pb2_grpc.FileServiceStub(rig.channel)
    for _ in range(50):
        rig.rooms.files.broken_off.clear()
        call = stub.UploadFile()
        await call.write(file_pb2.UploadFileRequest(header=file_pb2.FileHeader(file_name="cut")))
        await rig.rooms.files.began.wait()
        await call.write(file_pb2.UploadFileRequest(chunk=b"half"))
        call.cancel()
        await rig.rooms.files.broken_off.wait()
    assert rig.rooms.files.contents == {}
