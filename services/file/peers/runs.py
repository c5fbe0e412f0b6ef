"""The run room over gRPC."""

from collections.abc import Mapping, Sequence

import grpc
from comfyfleet.run.v1 import run_pb2, run_service_pb2, run_service_pb2_grpc

from services.common.status import error_of
from services.file.model.run_fate import RunFate, has_ended

METHODS = ("comfyfleet.run.v1.RunService/BatchGetRuns",)
"""To be named `idempotent` by whoever opens the channel."""
BATCH = 100
"""Runs in one question; their outputs come along."""
DEADLINE_SECONDS = 10


class RemoteRuns:
    """`Runs` by BatchGetRuns, with the room's own credential."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = run_service_pb2_grpc.RunServiceStub(channel)

    async def fates(self, run_ids: Sequence[str]) -> Mapping[str, RunFate]:
        fates: dict[str, RunFate] = {}
        for start in range(0, len(run_ids), BATCH):
            request = run_service_pb2.BatchGetRunsRequest(run_ids=run_ids[start : start + BATCH])
            try:
                answer = await self._stub.BatchGetRuns(request, timeout=DEADLINE_SECONDS)
            except grpc.aio.AioRpcError as error:
                raise error_of(error) from error
            fates.update((run.id, _fate(run)) for run in answer.runs)
        return fates


def _fate(run: run_pb2.Run) -> RunFate:
    outputs = (*run.outputs, *run.partial_outputs)
    return RunFate(
        run_id=run.id,
        ended=has_ended(run.state),
        output_file_ids=frozenset(output.file_id for output in outputs),
    )
