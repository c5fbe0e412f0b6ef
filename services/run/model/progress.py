"""How far an execution is, and pictures of it: seen by watchers, never logged."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class RunProgress:
    """How far an execution is."""

    attempt: int
    fraction: float = 0.0
    """Share of the graph that is done, 0 to 1."""
    node_id: str = ""
    node_class: str = ""
    node_value: float = 0.0
    node_maximum: float = 0.0
    nodes_done: int = 0
    nodes_total: int = 0
    text: str = ""
    elapsed: timedelta = timedelta()

    def to_json(self) -> dict[str, Any]:
        """The progress as it is stored and hinted."""
        return asdict(self) | {"elapsed": self.elapsed.total_seconds()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "RunProgress":
        """The progress that `to_json` wrote."""
        return cls(**{**stored, "elapsed": timedelta(seconds=stored["elapsed"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPreview:
    """A picture of what a node is making."""

    attempt: int
    node_id: str
    media_type: str
    image: bytes
    """At most 256 KiB."""
    number: int
    """Count of the attempt's previews, from 1."""
