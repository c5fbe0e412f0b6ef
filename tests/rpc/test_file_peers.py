"""How the file room asks the run room, over a real server."""

from typing import Any

import pytest
from comfyfleet.run.v1 import run_pb2, run_service_pb2, run_service_pb2_grpc

from services.common.errors import Unavailable
from services.common.ids import new_id
from services.common.rpc.authentication import NoAuthenticator
from services.common.rpc.channel import open_channel
from services.common.rpc.rule import service_only, service_rules
from services.common.rpc.server import Member, open_server
from services.file.peers.runs import BATCH, METHODS, RemoteRuns

RULES = service_rules("comfyfleet.run.v1.RunService", {"BatchGetRuns": service_only()})
SERVICE = "svc-test"


class FewRuns(run_service_pb2_grpc.RunServiceServicer):
    """A run room that knows some runs."""

    def __init__(self, *runs: run_pb2.Run) -> None:
        self._runs = {run.id: run for run in runs}
        self.sizes: list[int] = []

    async def BatchGetRuns(
        self, request: run_service_pb2.BatchGetRunsRequest, context: Any
    ) -> run_service_pb2.BatchGetRunsResponse:
        self.sizes.append(len(request.run_ids))
        found = [self._runs[each] for each in request.run_ids if each in self._runs]
        missing = [each for each in request.run_ids if each not in self._runs]
        return run_service_pb2.BatchGetRunsResponse(runs=found, missing_run_ids=missing)


async def test_runs_are_asked_about_in_batches_and_their_outputs_are_known() -> None:
    ended = run_pb2.Run(id=new_id(), state=run_pb2.RUN_STATE_FAILED)
    ended.outputs.add(file_id="a")
    ended.partial_outputs.add(file_id="b")
    running = run_pb2.Run(id=new_id(), state=run_pb2.RUN_STATE_RUNNING)
    servicer = FewRuns(ended, running)  # type: ignore[abstract]  # one method is all that is called
    member = Member(
        name="run",
        register=lambda server: run_service_pb2_grpc.add_RunServiceServicer_to_server(servicer, server),
        rules=RULES,
    )
    async with (
        open_server(address="127.0.0.1:0") as server,
        open_channel(server.address, service_credential=SERVICE, idempotent=METHODS) as channel,
        server.serving([member], authenticator=NoAuthenticator(), service_credentials=[SERVICE]),
    ):
        unknown = [new_id() for _ in range(BATCH)]
        fates = await RemoteRuns(channel).fates([ended.id, *unknown, running.id])
    assert set(fates) == {ended.id, running.id}
    assert (fates[ended.id].ended, fates[ended.id].output_file_ids) == (True, frozenset("ab"))
    assert not fates[running.id].ended
    assert servicer.sizes == [BATCH, 2]


async def test_a_run_room_that_is_away_gives_no_answer() -> None:
    async with open_server(address="127.0.0.1:0") as server:
        address = server.address
    async with open_channel(address, service_credential=SERVICE) as channel:
        with pytest.raises(Unavailable):
            await RemoteRuns(channel).fates([new_id()])
