"""What a command writes: results to standard output, everything else to standard error."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from services.cli.document import document_of

results = Console(soft_wrap=True, highlight=False)
notices = Console(stderr=True, soft_wrap=True, highlight=False)

_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control codes, changes of the writing direction, and what UTF-8 cannot carry."""

M = TypeVar("M", bound=Message)


def write(line: str, *, style: str = "") -> None:
    """Writes one line of the result, as it is: names and messages of others are neither markup nor control codes."""
    results.print(Text(visible(line), style=style))


def notice(line: str, *, style: str = "") -> None:
    """Writes one line for people, beside the result."""
    notices.print(Text(visible(line), style=style))


def visible(text: str) -> str:
    """The text with a sign in place of each character that would steer a terminal or reorder the line."""
    return _STEERING.sub("\ufffd", text)


def time_word(time: Timestamp) -> str:
    """A time to the second, in UTC: `2026-11-21 20:00:00Z`."""
    return time.ToDatetime().strftime("%Y-%m-%d %H:%M:%SZ")


def write_json(message: Message | dict[str, Any]) -> None:
    """Writes one JSON document on one line."""
    document = document_of(message) if isinstance(message, Message) else message
    print(json.dumps(document, ensure_ascii=False), flush=True)


def write_list(
    messages: Iterable[M],
    *,
    as_json: bool,
    columns: Sequence[str],
    row: Callable[[M], Sequence[str]],
    more: bool = False,
) -> None:
    """Writes one JSON document a line, or a table whose cells are never cut: ids in it are there to be copied.

    `more`: there is a next page; people are told on standard error.
    """
    if as_json:
        for message in messages:
            write_json(message)
    else:
        rows = [[visible(cell) for cell in row(message)] for message in messages]
        widths = [max(cell_len(cell) for cell in cells) for cells in zip(columns, *rows, strict=True)]
        write(_line(columns, widths), style="bold")
        for cells in rows:
            write(_line(cells, widths))
    if more:
        notice("There are more; --limit shows up to 1000.")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join(padded).rstrip()
