"""The NATS client turns a cancellation that meets one of its time-outs into that time-out."""

import asyncio


def raise_if_cancelled() -> None:
    """CancelledError if this task was asked to end: to be called where a time-out of the NATS client is caught."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
