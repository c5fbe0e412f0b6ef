"""What `/queue` says (PROTOCOL.md §2). Pure."""

from dataclasses import dataclass
from typing import Any

from services.common.ids import is_id
from services.dispatcher.model.desired import ExecutionKey

MARK = "comfyfleet"
"""Key in `extra_data` under which a prompt says whose it is (A6)."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Whose prompt it is."""

    fleet_id: str
    key: ExecutionKey


@dataclass(frozen=True, kw_only=True)
class QueueItem:
    """One prompt that waits or runs."""

    number: float
    prompt_id: str
    running: bool
    client_id: str
    mark: Mark | None
    """None: a stranger's."""


@dataclass(frozen=True, kw_only=True)
class QueueReading:
    """The queue as it was between asking and answer."""

    asked_at: float
    """Monotonic seconds; what was submitted later may be missing."""
    items: dict[str, QueueItem]
    count: int
    """All items, also those that share a prompt id."""


def read_queue(answer: dict[str, Any], *, asked_at: float) -> QueueReading:
    """The meaning of an answer; malformed items are left out of `items` but counted, as strangers'."""
    items: dict[str, QueueItem] = {}
    count = 0
    for name, running in (("queue_pending", False), ("queue_running", True)):
        listed = answer.get(name)
        for raw in listed if isinstance(listed, list) else []:
            count += 1
            item = _item(raw, running=running)
            if item is not None:
                items[item.prompt_id] = item
    return QueueReading(asked_at=asked_at, items=items, count=count)


def _item(raw: object, *, running: bool) -> QueueItem | None:
    if not isinstance(raw, list) or len(raw) < 4 or not isinstance(raw[1], str) or not isinstance(raw[3], dict):
        return None
    client_id = raw[3].get("client_id")
    return QueueItem(
        number=raw[0] if isinstance(raw[0], int | float) else 0.0,
        prompt_id=raw[1],
        running=running,
        client_id=client_id if isinstance(client_id, str) else "",
        mark=read_mark(raw[3]),
    )


def read_mark(extra_data: dict[str, Any]) -> Mark | None:
    """Whose prompt it is; None for strangers' and for marks that no fleet writes."""
    mark = extra_data.get(MARK)
    if not isinstance(mark, dict):
        return None
    fleet, run_id, attempt = mark.get("fleet"), mark.get("run_id"), mark.get("attempt")
    if not isinstance(fleet, str) or not isinstance(run_id, str) or not is_id(run_id):
        return None
    if not isinstance(attempt, int) or not 0 < attempt < 2**31:
        return None
    return Mark(fleet_id=fleet, key=ExecutionKey(run_id=run_id, attempt=attempt))
