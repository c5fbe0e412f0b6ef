"""The registry, remembered: versions never change, so only what a reference means is asked again."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.common.clock import Clock
from services.common.parameters import Parameter
from services.run.model.workflow import WorkflowVersion
from services.run.service.ports import Workflows

MEANING_LASTS = timedelta(seconds=5)
MOST_BYTES = 256 * 1024 * 1024
"""Of graphs that are kept; the parsed form is several times that of the text, which this allows for."""
_PARSED_FACTOR = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class _Meaning:
    version: WorkflowVersion
    until: datetime


class CachedWorkflows:
    """`Workflows` that asks the registry at most every five seconds what a reference of a team means.

    The word of a new version or of a deletion (`forget`) makes it ask at once.
    """

    def __init__(self, *, workflows: Workflows, clock: Clock) -> None:
        self._workflows = workflows
        self._clock = clock
        self._meanings: OrderedDict[tuple[str, str], _Meaning] = OrderedDict()
        self._bytes = 0

    async def read(self, team_id: str, reference: str) -> WorkflowVersion:
        """The version that `reference` means, as the port says."""
        key, now = (team_id, reference), self._clock.now()
        meaning = self._meanings.get(key)
        if meaning is not None and meaning.until > now:
            return meaning.version
        version = await self._workflows.read(team_id, reference)
        self._drop(key)
        self._meanings[key] = _Meaning(version=version, until=now + MEANING_LASTS)
        self._bytes += _size(version)
        while self._bytes > MOST_BYTES and len(self._meanings) > 1:
            self._drop(next(iter(self._meanings)))
        return version

    async def discover(self, team_id: str, graph_json: bytes) -> Sequence[Parameter]:
        """Not remembered: inline graphs differ each time."""
        return await self._workflows.discover(team_id, graph_json)

    def forget(self, workflow_id: str) -> None:
        """That workflow has a new version, or is gone."""
        for key in [key for key, meaning in self._meanings.items() if meaning.version.workflow_id == workflow_id]:
            self._drop(key)

    def _drop(self, key: tuple[str, str]) -> None:
        meaning = self._meanings.pop(key, None)
        if meaning is not None:
            self._bytes -= _size(meaning.version)


def _size(version: WorkflowVersion) -> int:
    return _PARSED_FACTOR * len(version.graph_json) + 2000
