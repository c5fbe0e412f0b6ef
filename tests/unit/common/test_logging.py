"""What a log line looks like."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from services.common.logging import configure_logging


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_lines_are_json_with_context_member_and_traceback() -> None:
    stream = io.StringIO()
    configure_logging(member="front", to=stream)
    structlog.contextvars.bind_contextvars(request_id="abc")
    try:
        raise KeyError("why")
    except KeyError:
        structlog.get_logger().exception("rpc_crashed", method="/x")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["member"], line["request_id"], line["method"]) == ("rpc_crashed", "front", "abc", "/x")
    assert "KeyError: 'why'" in line["exception"]
    assert line["timestamp"].endswith("Z")


def test_warnings_of_libraries_take_the_same_way() -> None:
    stream = io.StringIO()
    configure_logging(member="front", to=stream)
    logging.getLogger("library").warning("odd %s", "thing")
    logging.getLogger("library").info("chatter")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["odd thing"]
    assert lines[0]["level"] == "warning"


def test_the_level_holds_back_what_is_below_it() -> None:
    stream = io.StringIO()
    configure_logging(member="front", level="warning", to=stream)
    structlog.get_logger().info("quiet")
    assert stream.getvalue() == ""


def test_people_get_readable_lines() -> None:
    stream = io.StringIO()
    configure_logging(member="front", as_json=False, to=stream)
    structlog.get_logger().info("started", port=8080)
    assert "port=8080" in stream.getvalue()
