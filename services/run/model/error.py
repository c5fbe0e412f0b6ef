"""Why a run, or one attempt of it, did not succeed: data of the run, not an error of a call."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

QUEUE_TTL_PASSED = "QUEUE_TTL_PASSED"
TIMEOUT_PASSED = "TIMEOUT_PASSED"
RUNNER_LOST = "RUNNER_LOST"
NODE_ERROR = "NODE_ERROR"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunError:
    """What went wrong."""

    code: str
    """UPPER_SNAKE, stable."""
    message: str
    """One sentence."""
    node_id: str = ""
    node_class: str = ""
    traceback: tuple[str, ...] = ()
    """The backend's traceback, one line each, at most 64 KiB in all."""
    retryable: bool = False
    """True: the same run may succeed elsewhere or later."""
    exception_type: str = ""

    def to_json(self) -> dict[str, Any]:
        """The error as it is stored in rows and event bodies."""
        return asdict(self) | {"traceback": list(self.traceback)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "RunError":
        """The error that `to_json` wrote."""
        return cls(**{**stored, "traceback": tuple(stored.get("traceback", ()))})
