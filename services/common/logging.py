"""Logs: structlog to stdout, for people at a terminal and as JSON lines otherwise; configured once per process."""

import logging
import sys
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


def configure_logging(
    *, member: str, level: str = "INFO", as_json: bool | None = None, to: TextIO | None = None
) -> None:
    """Send every record of this process, libraries' too, to one stream; each names its `member`.

    `as_json=None`: JSON unless `to` (stdout if not given) is a terminal. Context variables bound by the doors
    (request id, team, run, method) stand on every line. Callers never log secrets or graphs.
    """
    stream = to or sys.stdout
    json_lines = not stream.isatty() if as_json is None else as_json

    def name_member(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["member"] = member
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        name_member,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    final: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]
        if json_lines
        else [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    )
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final]
        )
    )
    # Libraries speak up only when something is wrong; our own lines do not pass here.
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _json(value: Any, **options: Any) -> str:
    return orjson.dumps(value, default=options.get("default", str), option=orjson.OPT_NON_STR_KEYS).decode()
