"""What a run needs of a runner, come what may; runs with the same needs are one class (EXECUTION B1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from services.common.json_bytes import canonical_json
from services.run.model.run import TagMatch


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirements:
    """Hard requirements: a runner that misses one of them is never given the run."""

    runtime: str
    tags: frozenset[str] = frozenset()
    tag_match: TagMatch = TagMatch.ALL
    node_classes: frozenset[str] = frozenset()
    """Classes of the graph's nodes."""
    refused_by: frozenset[str] = frozenset()
    """Ids of runners that refused this very graph: it is not shown to them again (EXECUTION A11)."""

    @property
    def class_id(self) -> str:
        """The class: a hash of the requirements, the same in every process."""
        return sha256(canonical_json(self.to_json())).hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        """The requirements as they are stored and hashed."""
        stored = {
            "runtime": self.runtime,
            "tags": sorted(self.tags),
            "tag_match": self.tag_match.value,
            "node_classes": sorted(self.node_classes),
        }
        return stored | ({"refused_by": sorted(self.refused_by)} if self.refused_by else {})

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Requirements":
        """The requirements that `to_json` wrote."""
        return cls(
            runtime=stored["runtime"],
            tags=frozenset(stored["tags"]),
            tag_match=TagMatch(stored["tag_match"]),
            node_classes=frozenset(stored["node_classes"]),
            refused_by=frozenset(stored.get("refused_by", ())),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """What one runner has to offer; what changes from second to second is not here."""

    runner_id: str
    team_id: str | None
    """None: it serves every team."""
    runtime: str
    tags: frozenset[str]
    node_classes: frozenset[str] | None
    """None: its catalogue is not known, and the backend decides."""
    attached: bool = True
    """Whether it is switched on and within reach; waiting runs do not wait for one that is not."""
    missing: frozenset[str] = frozenset()
    """Node classes and other inputs that it refused though its catalogue lists them."""

    def serves(self, team_id: str) -> bool:
        """Whether runs of that team may be given to it at all."""
        return self.team_id is None or self.team_id == team_id

    def meets(self, requirements: Requirements) -> bool:
        """Whether it has all that is required."""
        return (
            self.runtime == requirements.runtime
            and self.runner_id not in requirements.refused_by
            and self._has_tags(requirements)
            and (self.node_classes is None or requirements.node_classes <= self.node_classes)
            and not (requirements.node_classes & self.missing)
        )

    def _has_tags(self, requirements: Requirements) -> bool:
        if requirements.tag_match is TagMatch.ALL_OR_UNTAGGED and not self.tags:
            return True
        return requirements.tags <= self.tags
