"""The disk as a limit."""

from datetime import timedelta

from services.common.errors import ResourceExhausted

DISK_RETRY_AFTER = timedelta(seconds=30)


def disk_full() -> ResourceExhausted:
    """There is no room for more bytes now; nothing of them was kept."""
    return ResourceExhausted(
        "The disk is full; try again once there is room.", reason="DISK_FULL", retry_after=DISK_RETRY_AFTER
    )
