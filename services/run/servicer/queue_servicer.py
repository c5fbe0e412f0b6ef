"""The door of RunQueueService: streams of dispatchers."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import grpc
from comfyfleet.run.v1 import run_queue_pb2, run_queue_pb2_grpc

from services.common.errors import InvalidArgument, Violation
from services.common.rpc.principal import Principal, current_principal
from services.common.rpc.rule import agent_only, service_rules
from services.run.model.runner import Owner
from services.run.service.catalogues import MAX_CATALOGUE_BYTES, Catalogues, too_large
from services.run.service.dispatchers import Dispatchers
from services.run.service.session import DispatcherSession
from services.run.servicer.desire_converters import Terms, desired_to_proto
from services.run.servicer.report_converters import preview_from_proto, state_from_proto

QUEUE_RULES = service_rules(
    "comfyfleet.run.v1.RunQueueService",
    {
        "Synchronize": agent_only(endless=True),
        "PublishPreviews": agent_only(endless=True),
        "UploadCatalogue": agent_only(),
    },
)

_Context = grpc.aio.ServicerContext[Any, Any]


class QueueServicer(run_queue_pb2_grpc.RunQueueServiceServicer):
    """Converts, and keeps one task each for reading, working and writing."""

    def __init__(self, *, dispatchers: Dispatchers, catalogues: Catalogues, terms: Terms) -> None:
        self._dispatchers = dispatchers
        self._catalogues = catalogues
        self._terms = terms

    # A coroutine that writes, instead of a generator: reading, working and writing are tasks of their own.
    async def Synchronize(  # type: ignore[override]
        self, request_iterator: AsyncIterator[run_queue_pb2.CurrentState], context: _Context
    ) -> None:
        owner = _owner(current_principal())
        first = await anext(request_iterator, None)
        if first is None:
            return
        async with self._dispatchers.session(owner, state_from_proto(first)) as session:
            await _first_of(
                _read(session, request_iterator),
                session.work(),
                self._write(session, context),
            )

    async def PublishPreviews(
        self,
        request_iterator: AsyncIterator[run_queue_pb2.PreviewFrame],
        context: _Context,  # noqa: ARG002 # gRPC's
    ) -> run_queue_pb2.PublishPreviewsResponse:
        previews = self._dispatchers.previews(_owner(current_principal()))
        async for frame in request_iterator:
            previews.take(frame.run_id, preview_from_proto(frame))
        return run_queue_pb2.PublishPreviewsResponse(accepted_count=previews.accepted_count)

    async def UploadCatalogue(
        self,
        request_iterator: AsyncIterator[run_queue_pb2.CatalogueChunk],
        context: _Context,  # noqa: ARG002 # gRPC's
    ) -> run_queue_pb2.UploadCatalogueResponse:
        owner = _owner(current_principal())
        first = await anext(request_iterator, None)
        if first is None or first.WhichOneof("part") != "catalogue_hash":
            raise _not_first()
        if not await self._catalogues.expect(owner, first.catalogue_hash):
            return run_queue_pb2.UploadCatalogueResponse()
        body = bytearray()
        async for part in request_iterator:
            if part.WhichOneof("part") != "chunk":
                raise _not_first()
            body += part.chunk
            if len(body) > MAX_CATALOGUE_BYTES:
                raise too_large()
        await self._catalogues.store(owner, first.catalogue_hash, bytes(body))
        return run_queue_pb2.UploadCatalogueResponse()

    async def _write(self, session: DispatcherSession, context: _Context) -> None:
        """The only task that writes to the stream: two writers would end the call with INTERNAL."""
        while True:
            await context.write(desired_to_proto(await session.take(), self._terms))


async def _read(session: DispatcherSession, messages: AsyncIterator[run_queue_pb2.CurrentState]) -> None:
    async for message in messages:
        session.offer(state_from_proto(message))


async def _first_of(*work: Coroutine[Any, Any, None]) -> None:
    """Run all until the first ends, cancel the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if task in done:
            task.result()


def _owner(principal: Principal) -> Owner:
    return Owner(team_id=principal.team_id, credential_id=principal.credential_id)


def _not_first() -> InvalidArgument:
    message = "Send the hash first, once, then chunks."
    return InvalidArgument(violations=[Violation("part", "WRONG_ORDER", message)])
