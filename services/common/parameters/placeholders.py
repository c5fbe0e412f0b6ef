"""Placeholders inside a graph: a whole string such as `$text(prompt)` that stands for a value of the run.

`$text(key)` and `$file(name)` must be given; `$text(key, default)` may be, and its default is everything after the
first comma; `$choice(name, v1, …)` offers its values, the first being the default; `$random()` is a fresh 64-bit
integer at each place, `$timestamp()` one moment in Unix milliseconds for the whole run. A placeholder inside a longer
string is plain text, and so is one with the wrong number of arguments.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

_FORM = re.compile(r"\$(text|choice|file|random|timestamp)\((.*)\)", re.DOTALL)
_NAME = re.compile(r"[^\s,()$#\x7f][^,()\x00-\x1f\x7f]{0,127}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class PlaceholderKind(StrEnum):
    """What a placeholder stands for."""

    TEXT = "text"
    CHOICE = "choice"
    FILE = "file"
    RANDOM = "random"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True, kw_only=True)
class Placeholder:
    """One placeholder, parsed."""

    kind: PlaceholderKind
    name: str = ""
    """Key of its parameter; empty for RANDOM and TIMESTAMP, which have none."""
    default: str | None = None
    """Default of TEXT, None: it must be given."""
    options: tuple[str, ...] = ()
    """Values of CHOICE, the first being the default."""

    @property
    def is_parameter(self) -> bool:
        """Whether a caller may set it; the others are filled in by the run room."""
        return self.kind in (PlaceholderKind.TEXT, PlaceholderKind.CHOICE, PlaceholderKind.FILE)


def parse_placeholder(text: str) -> Placeholder | None:
    """The placeholder that `text` is as a whole, None if it is none."""
    if not text.startswith("$") or (match := _FORM.fullmatch(text)) is None:
        return None
    kind, inside = PlaceholderKind(match[1]), match[2]
    if kind in (PlaceholderKind.RANDOM, PlaceholderKind.TIMESTAMP):
        return Placeholder(kind=kind) if not inside.strip() else None
    name, comma, rest = inside.partition(",")
    name, rest = name.strip(), rest.strip()
    if not (_FILE_NAME if kind is PlaceholderKind.FILE else _NAME).fullmatch(name):
        return None
    if kind is PlaceholderKind.TEXT:
        return Placeholder(kind=kind, name=name, default=rest if comma else None)
    if kind is PlaceholderKind.FILE:
        return None if comma else Placeholder(kind=kind, name=name)
    options = tuple(option.strip() for option in rest.split(","))
    return Placeholder(kind=kind, name=name, options=options) if comma and all(options) else None
