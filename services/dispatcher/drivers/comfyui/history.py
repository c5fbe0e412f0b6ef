"""What an entry of `/history` says (PROTOCOL.md §6). Pure.

The messages decide, not `status_str`: a cycle found while running says "success" there, an interrupt says "error".
"""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any

from services.dispatcher.drivers.comfyui.failure import failure_of
from services.dispatcher.model.ending import Failure

Json = dict[str, Any]


class End(Enum):
    """How a prompt ended."""

    SUCCESS = "execution_success"
    ERROR = "execution_error"
    INTERRUPTED = "execution_interrupted"


_ENDS = {end.value: end for end in End}


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One ended prompt."""

    end: End
    failure: Failure | None
    """Set for ERROR."""
    execution: timedelta
    """From execution_start to the end, by the backend's clock."""
    cached_nodes: tuple[str, ...]
    outputs: dict[str, Json] = field(default_factory=dict)
    """The ui object of each output node."""
    output_nodes: tuple[str, ...] = ()
    """Nodes that were to be executed for their own sake."""


def interpret(entry: Json) -> HistoryEntry:
    """The meaning of one entry; an entry that says nothing is an error that may be retried."""
    messages = _messages(entry)
    end, last = _end(entry, messages)
    failure = None
    if end is End.ERROR:
        failure = (
            failure_of(last)
            if last
            else Failure(
                code="BACKEND_SILENT", message="The backend ended the prompt and did not say how.", retryable=True
            )
        )
    outputs = entry.get("outputs")
    return HistoryEntry(
        end=end,
        failure=failure,
        execution=_duration(messages, last),
        cached_nodes=_cached(messages),
        outputs={node: ui for node, ui in outputs.items() if isinstance(ui, dict)} if isinstance(outputs, dict) else {},
        output_nodes=_output_nodes(entry),
    )


def _messages(entry: Json) -> list[tuple[str, Json]]:
    status = entry.get("status")
    listed = status.get("messages") if isinstance(status, dict) else None
    if not isinstance(listed, list):
        return []
    pairs = [item for item in listed if isinstance(item, list) and len(item) == 2]
    return [(kind, body) for kind, body in pairs if isinstance(kind, str) and isinstance(body, dict)]


def _end(entry: Json, messages: list[tuple[str, Json]]) -> tuple[End, Json]:
    for kind, body in reversed(messages):
        if kind in _ENDS:
            return _ENDS[kind], body
    status = entry.get("status")
    completed = isinstance(status, dict) and status.get("completed") is True and status.get("status_str") == "success"
    return (End.SUCCESS if completed else End.ERROR), {}


def _duration(messages: list[tuple[str, Json]], last: Json) -> timedelta:
    start = next((body.get("timestamp") for kind, body in messages if kind == "execution_start"), None)
    stop = last.get("timestamp")
    if not isinstance(start, int) or not isinstance(stop, int) or not 0 <= stop - start < 2**40:
        return timedelta(0)
    return timedelta(milliseconds=stop - start)


def _cached(messages: list[tuple[str, Json]]) -> tuple[str, ...]:
    nodes = next((body.get("nodes") for kind, body in messages if kind == "execution_cached"), None)
    return tuple(node for node in nodes if isinstance(node, str)) if isinstance(nodes, list) else ()


def _output_nodes(entry: Json) -> tuple[str, ...]:
    prompt = entry.get("prompt")
    nodes = prompt[4] if isinstance(prompt, list) and len(prompt) > 4 else None
    return tuple(node for node in nodes if isinstance(node, str)) if isinstance(nodes, list) else ()
