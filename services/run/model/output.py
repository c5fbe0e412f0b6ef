"""Files that a run made, and how they are named."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

_UNNAMED = "output"
_IN_PATHS = re.compile(r"[/\\\x00-\x1f]")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOutput:
    """One stored output of one attempt; provisional until the run SUCCEEDED."""

    ordinal: int
    """Place among the outputs of its attempt, from 0, in the order in which they were stored."""
    name: str
    """Name in answers and links, unique in its attempt; see `output_name`."""
    node_id: str
    key: str
    """Key in the node's output, such as `images`."""
    position: int
    """Place in that key's list, from 0."""
    file_id: str
    sha256: str
    """In hex."""
    size_bytes: int
    media_type: str
    file_name: str
    """Name that the backend gave it."""
    kind: str
    """`output`, `temp`, `text`, `value` or `frame`."""
    cached: bool
    attempt: int
    """Number of the attempt that made it, from 1."""

    def to_json(self) -> dict[str, Any]:
        """The output as it is stored in event bodies."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "RunOutput":
        """The output that `to_json` wrote."""
        return cls(**stored)


def output_name(*, keys: Mapping[str, str], node_id: str, file_name: str, taken: Collection[str]) -> str:
    """The name of an output: its definition's key (`keys`, by node id) or else its file name, unique beside `taken`.

    The second of a name is `name-2`, then `name-3`; a file name keeps its extension: `a.png`, `a-2.png`.
    """
    wanted = keys.get(node_id)
    stem, dot, extension = (wanted, "", "") if wanted else _parts(file_name)
    name, number = f"{stem}{dot}{extension}", 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}{dot}{extension}"
    return name


def _parts(file_name: str) -> tuple[str, str, str]:
    """Stem, dot and extension of what remains of a backend's file name in a path of a URL."""
    safe = _IN_PATHS.sub("_", file_name).strip() or _UNNAMED
    if not safe.strip("."):
        return "_", "", ""  # `.` and `..` are steps of paths
    stem, dot, extension = safe.rpartition(".")
    return (stem, dot, extension) if stem else (safe, "", "")
