"""How the dispatcher stands towards the run room, for people beside the machine."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(kw_only=True)
class Status:
    """Kept by the worker, read by the door."""

    dispatcher_id: str
    session_id: str
    software: str
    run_endpoint: str
    connected: bool = False
    last_desired_time: datetime | None = None
