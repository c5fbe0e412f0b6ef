"""What a filter says, as a tree."""

from dataclasses import dataclass
from enum import StrEnum


class Operator(StrEnum):
    """The comparators of AIP-160."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    HAS = ":"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One restriction, such as `state = RUNNING` or `labels.env:prod`."""

    path: str
    """Name of a field; of a map, with `.` and the key after it."""
    operator: Operator
    parts: tuple[str, ...]
    """The value, cut at its wildcards `*`; one part: there is none. `\\*` in quotes is a plain star."""

    @property
    def value(self) -> str:
        """The value as text, its wildcards as `*`."""
        return "*".join(self.parts)

    @property
    def is_presence(self) -> bool:
        """Whether the value is `*` alone, which asks for presence after `:`."""
        return self.parts == ("", "")


@dataclass(frozen=True, kw_only=True)
class Negation:
    """NOT."""

    expression: "Expression"


@dataclass(frozen=True, kw_only=True)
class Conjunction:
    """AND, written or implied by a space."""

    expressions: tuple["Expression", ...]


@dataclass(frozen=True, kw_only=True)
class Disjunction:
    """OR, which binds closer than AND."""

    expressions: tuple["Expression", ...]


Expression = Comparison | Negation | Conjunction | Disjunction
"""An empty filter is a Conjunction of nothing."""
