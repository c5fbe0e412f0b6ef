"""What a command writes: results to standard output, everything else to standard error."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table

from services.cli.document import document_of

results = Console(soft_wrap=True, highlight=False)
notices = Console(stderr=True, highlight=False)

M = TypeVar("M", bound=Message)


def write_json(message: Message | dict[str, Any]) -> None:
    """Writes one JSON document on one line."""
    document = document_of(message) if isinstance(message, Message) else message
    print(json.dumps(document, ensure_ascii=False), flush=True)


def write_list(
    messages: Iterable[M], *, as_json: bool, columns: Sequence[str], row: Callable[[M], Sequence[str]]
) -> None:
    """Writes one JSON document a line, or a table."""
    if as_json:
        for message in messages:
            write_json(message)
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for message in messages:
        table.add_row(*row(message))
    results.print(table)
