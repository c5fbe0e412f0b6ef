"""What ended, kept in memory."""

import threading
from collections.abc import Iterable
from typing import Any

from services.standin.model.value import JsonObject

MOST_ENTRIES = 10_000
"""The recorded server keeps this many entries, and drops the oldest first."""


class History:
    """Entries by prompt id, oldest first. An id that is used again keeps its first place."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, JsonObject] = {}

    def record(self, prompt_id: str, entry: JsonObject) -> None:
        """Keeps an entry, in place of an earlier one with the same id."""
        with self._lock:
            if len(self._entries) > MOST_ENTRIES:
                del self._entries[next(iter(self._entries))]
            self._entries[prompt_id] = entry

    def entry(self, prompt_id: str) -> JsonObject:
        """`{id: entry}`, or nothing for an id that is unknown, pending or running."""
        with self._lock:
            found = self._entries.get(prompt_id)
            return {} if found is None else {prompt_id: found}

    def page(self, *, max_items: int | None, offset: int) -> JsonObject:
        """Entries from `offset` (counted from the oldest; negative: the latest `max_items`).

        The recorded server gives one entry more than asked for nothing: `max_items` of 0 with an offset gives one.
        """
        with self._lock:
            ids = list(self._entries)
            if offset < 0 and max_items is not None:
                offset = len(ids) - max_items
            chosen = ids[max(offset, 0) :]
            if max_items is not None:
                chosen = chosen[: max(max_items, 1)]
            return {prompt_id: self._entries[prompt_id] for prompt_id in chosen}

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._entries = {}

    def delete(self, prompt_ids: Iterable[Any]) -> None:
        """Forgets these ids; unknown ones do no harm."""
        with self._lock:
            for prompt_id in prompt_ids:
                self._entries.pop(prompt_id, None)
