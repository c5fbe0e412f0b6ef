"""Node catalogues, read from the run room."""

import hashlib
from collections import Counter
from collections.abc import Sequence

from comfyfleet.run.v1 import runner_pb2, runner_pb2_grpc
from grpc.aio import AioRpcError, Channel

from services.common.errors import DataLoss, ResourceExhausted
from services.common.rpc.metadata import for_team
from services.common.status import error_of

LIST_SECONDS = 2.0
"""Short: a graph is discovered without a catalogue rather than late."""
READ_SECONDS = 20.0
PAGE_SIZE = 1000
MOST_PAGES = 10
MAX_CATALOGUE_BYTES = 128 * 1024 * 1024


class RunnerCatalogues:
    """`Catalogues` over RunnerService, with this room's service credential (on `channel`) and the team's name."""

    def __init__(self, *, channel: Channel) -> None:
        self._stub = runner_pb2_grpc.RunnerServiceStub(channel)

    async def hashes(self, team_id: str) -> Sequence[str]:
        """Of runners that may serve the team, healthy ones counting first, then the most frequent."""
        weights: Counter[str] = Counter()
        token = ""
        try:
            for _ in range(MOST_PAGES):
                request = runner_pb2.ListRunnersRequest(page_size=PAGE_SIZE, page_token=token)
                answer = await self._stub.ListRunners(request, metadata=for_team(team_id), timeout=LIST_SECONDS)
                for runner in answer.runners:
                    if runner.catalogue_hash:
                        healthy = runner.enabled and runner.health == runner_pb2.RUNNER_HEALTH_HEALTHY
                        weights[runner.catalogue_hash] += 1_000_000 if healthy else 1
                token = answer.next_page_token
                if not token:
                    break
        except AioRpcError as error:
            raise error_of(error) from error
        return sorted(weights, key=lambda hash_: (-weights[hash_], hash_))

    async def body(self, team_id: str, hash_: str) -> bytes:
        """The whole JSON; DataLoss if it is not what its hash says."""
        request = runner_pb2.GetNodeCatalogueRequest(catalogue_hash=hash_)
        chunks: list[bytes] = []
        size = 0
        stream = self._stub.GetNodeCatalogue(request, metadata=for_team(team_id), timeout=READ_SECONDS)
        try:
            async for message in stream:
                chunks.append(message.chunk)
                size += len(message.chunk)
                if size > MAX_CATALOGUE_BYTES:
                    raise ResourceExhausted("The node catalogue is too large to copy.", reason="CATALOGUE_TOO_LARGE")
        except AioRpcError as error:
            raise error_of(error) from error
        finally:
            stream.cancel()
        body = b"".join(chunks)
        if hashlib.sha256(body).hexdigest() != hash_:
            raise DataLoss("The node catalogue does not match its hash.", reason="CATALOGUE_DAMAGED")
        return body
