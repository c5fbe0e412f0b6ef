"""What a workflow lets its callers set: definitions of parameters and outputs."""

from dataclasses import dataclass
from enum import StrEnum

from services.common.json_bytes import JsonValue


class ParameterType(StrEnum):
    """Type of a parameter's value; the values are how rows and REST spell it."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    SELECT = "select"
    FILE = "file"
    JSON = "json"


class ParameterSource(StrEnum):
    """How a parameter came to be."""

    GIVEN = "given"
    PLACEHOLDER = "placeholder"
    LITERAL = "literal"


@dataclass(frozen=True, kw_only=True)
class ParameterTarget:
    """One place of a graph that a parameter sets."""

    node_id: str
    input: str
    """Name of the node's input, or a path into a structured literal with `.` between its steps."""


@dataclass(frozen=True, kw_only=True)
class Default:
    """A default, wrapped so that JSON null can be one."""

    value: JsonValue


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One user-settable input of a workflow."""

    key: str
    type: ParameterType
    label: str = ""
    description: str = ""
    required: bool = False
    default: Default | None = None
    """Value of a run that gives none; None: the literal that stands in the graph."""
    minimum: int | float | None = None
    """Smallest number, or fewest characters of a string."""
    maximum: int | float | None = None
    """Largest number, or most characters of a string."""
    step: int | float | None = None
    """Step between numbers, for forms; not enforced."""
    options: tuple[JsonValue, ...] = ()
    """Allowed values of a select."""
    accept: tuple[str, ...] = ()
    """MIME patterns, such as `image/*`, of which a file must match one; none: any file."""
    multiple: bool = False
    """The value is a list; type and bounds are those of its items."""
    targets: tuple[ParameterTarget, ...] = ()
    source: ParameterSource = ParameterSource.GIVEN
    typed_by_catalogue: bool = False


@dataclass(frozen=True, kw_only=True)
class OutputDefinition:
    """One output of a workflow that matters to its callers."""

    key: str
    node_id: str
    kind: str = ""
    """What it gives; empty: whatever the node saves."""
