"""What an `execution_error` means for the run. Pure.

Decided here (A19, DESIGN §4): an error of a node is not retryable, because the same graph fails again and would only
cost a second GPU; memory that ran out and a device that broke are, since another runner may be larger or sound.
"""

from typing import Any

from services.dispatcher.model.ending import Failure

_MAX_TRACEBACK_BYTES = 64 * 1024
_MAX_MESSAGE_CHARACTERS = 4096
_MEMORY = ("OutOfMemoryError", "MemoryError")
_DEVICE = ("CUDA error", "HIP error", "CUDNN_STATUS", "CUBLAS_STATUS", "device-side assert")


def failure_of(body: dict[str, Any]) -> Failure:
    """The failure that the body of an `execution_error` tells, bounded."""
    exception_type = _text(body.get("exception_type"), 256)
    # Out-of-memory errors carry a tip in several lines after the message itself.
    message = _text(body.get("exception_message"), _MAX_MESSAGE_CHARACTERS).strip()
    code, retryable = _judged(exception_type, message)
    return Failure(
        code=code,
        message=message or f"The node raised {exception_type or 'an exception'}.",
        node_id=_text(body.get("node_id"), 256),
        node_class=_text(body.get("node_type"), 256),
        exception_type=exception_type,
        traceback=bounded_lines(body.get("traceback")),
        retryable=retryable,
    )


def bounded_lines(value: object) -> tuple[str, ...]:
    """The lines of a traceback, at most 64 KiB in all; the last ones are kept, since they name the cause."""
    if not isinstance(value, list):
        return ()
    kept: list[str] = []
    room = _MAX_TRACEBACK_BYTES
    for line in reversed(value):
        if not isinstance(line, str):
            continue
        line = storable(line)
        room -= len(line.encode())
        if room < 0:
            break
        kept.append(line)
    return tuple(reversed(kept))


def storable(text: str) -> str:
    """`text` without NUL and lone surrogates, which neither protobuf nor PostgreSQL takes."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def _judged(exception_type: str, message: str) -> tuple[str, bool]:
    if exception_type.rpartition(".")[2] in _MEMORY:
        return "OUT_OF_MEMORY", True
    if exception_type.endswith("AcceleratorError") or any(sign in message for sign in _DEVICE):
        return "DEVICE_ERROR", True
    return "NODE_ERROR", False


def _text(value: object, limit: int) -> str:
    return storable(value[:limit]) if isinstance(value, str) else ""
