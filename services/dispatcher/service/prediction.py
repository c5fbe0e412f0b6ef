"""How long an execution will take: the moving median of recent ones of the same workflow on the same backend (A18)."""

from collections import OrderedDict, deque
from statistics import median

_REMEMBERED = 9
_KEYS = 512


class Prediction:
    """Seconds by warm key."""

    def __init__(self) -> None:
        self._recent: OrderedDict[str, deque[float]] = OrderedDict()

    def measured(self, warm_key: str, seconds: float) -> None:
        """An execution of this workflow took so long."""
        recent = self._recent.setdefault(warm_key, deque(maxlen=_REMEMBERED))
        recent.append(seconds)
        self._recent.move_to_end(warm_key)
        if len(self._recent) > _KEYS:
            self._recent.popitem(last=False)

    def of(self, warm_key: str) -> float | None:
        """How long it will take; None: nobody knows."""
        recent = self._recent.get(warm_key)
        return median(recent) if recent and warm_key else None
