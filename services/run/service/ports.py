"""What creating runs needs of other rooms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.common.errors import Violation
from services.common.parameters import Parameter
from services.run.model.workflow import WorkflowVersion


class Workflows(Protocol):
    """The registry."""

    async def read(self, team_id: str, reference: str) -> WorkflowVersion:
        """The version that `reference` means now; NotFound, InvalidArgument, or Unavailable."""
        ...

    async def discover(self, team_id: str, graph_json: bytes) -> Sequence[Parameter]:
        """The parameters of a graph that no workflow has; InvalidArgument, or Unavailable."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class FileBinding:
    """A file wanted as an input."""

    field: str
    """The field of the request that named it."""
    file_id: str
    accept: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRecord:
    """A file that was bound."""

    id: str
    file_name: str
    sha256: str
    size_bytes: int


class Files(Protocol):
    """The file room."""

    async def import_data(self, team_id: str, *, uri: str, request_id: str) -> str:
        """Store the bytes of a `data:` URI, provisionally, and return the file's id; idempotent by `request_id`.

        InvalidArgument if the URI cannot be read.
        """
        ...

    async def bind(
        self, team_id: str, *, run_id: str, files: Sequence[FileBinding], delete_at_end: bool
    ) -> tuple[Sequence[FileRecord], Sequence[Violation]]:
        """Bind files to a run, all or none: their records in order, or what is wrong with them."""
        ...
