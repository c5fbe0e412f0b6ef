"""The run room, as the file room needs it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.file.model.run_fate import RunFate


class Runs(Protocol):
    """Knows all runs."""

    async def fates(self, run_ids: Sequence[str]) -> Mapping[str, RunFate]:
        """Those of the runs that exist; a run that is missing here definitely does not.

        Unavailable, or another DomainError, where there is no definite answer.
        """
        ...
