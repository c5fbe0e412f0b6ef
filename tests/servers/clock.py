"""A clock that tests move."""

from datetime import UTC, datetime, timedelta


class MovableClock:
    """Stands still until it is moved."""

    def __init__(self, start: datetime = datetime(2026, 11, 21, 12, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def move(self, by: timedelta) -> None:
        """Let time pass."""
        self._now += by
