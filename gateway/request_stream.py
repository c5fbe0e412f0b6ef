"""Writes the request side of a call so that a refusal is never lost.

grpcio's own `write` sets the status INTERNAL when a message cannot be sent any more, although the room's status, which
says why, is just arriving. What is sent here may fail without touching the status.
"""

import asyncio
from contextlib import suppress
from typing import Any

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # the stubs leave it out


async def send(call: Any, message: bytes) -> bool:
    """Send one serialized message, when the room has room for it. False: the call has ended; its status tells why."""
    if call.done():
        return False
    try:
        await call.wait_for_connection()
        await call._cython_call.send_serialized_message(message)  # noqa: SLF001 - see above
    except (cygrpc.InternalError, grpc.aio.AioRpcError):
        return False
    return True


async def close(call: Any) -> None:
    """Say that nothing more is to come. A call that has ended already needs no word."""
    with suppress(cygrpc.InternalError, asyncio.InvalidStateError, grpc.aio.AioRpcError):
        await call.done_writing()
