"""The one JetStream stream of facts."""

from datetime import timedelta

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError

STREAM = "COMFYFLEET"
SUBJECTS = "comfyfleet.>"
MAX_AGE = timedelta(hours=24)
MAX_BYTES = 128 * 1024 * 1024
DUPLICATE_WINDOW = timedelta(minutes=2)


async def ensure_stream(js: JetStreamContext) -> None:
    """Make the stream, or bring it to these limits.

    DiscardNew, because DiscardOld silently deletes what nobody has read; `MAX_AGE` frees a full stream in the end, and
    until then the outbox keeps what is refused.
    """
    config = StreamConfig(
        name=STREAM,
        subjects=[SUBJECTS],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_age=MAX_AGE.total_seconds(),
        max_bytes=MAX_BYTES,
        duplicate_window=DUPLICATE_WINDOW.total_seconds(),
    )
    try:
        await js.add_stream(config)
    except BadRequestError:  # it exists with other limits
        await js.update_stream(config)
