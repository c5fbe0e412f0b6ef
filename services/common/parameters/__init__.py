"""Parameters of workflows, pure: definitions, text to value, the one validation of values, placeholders."""

from services.common.parameters.definition import (
    Default,
    OutputDefinition,
    Parameter,
    ParameterSource,
    ParameterTarget,
    ParameterType,
)
from services.common.parameters.file_reference import (
    FileReferenceKind,
    data_media_type,
    file_reference_kind,
    media_type_accepted,
)
from services.common.parameters.placeholders import Placeholder, PlaceholderKind, parse_placeholder
from services.common.parameters.text import BadText, text_of_value, value_of_text
from services.common.parameters.validation import Validated, validate_values, with_defaults
from services.common.parameters.value import Refused, checked_value

__all__ = [
    "BadText",
    "Default",
    "FileReferenceKind",
    "OutputDefinition",
    "Parameter",
    "ParameterSource",
    "ParameterTarget",
    "ParameterType",
    "Placeholder",
    "PlaceholderKind",
    "Refused",
    "Validated",
    "checked_value",
    "data_media_type",
    "file_reference_kind",
    "media_type_accepted",
    "parse_placeholder",
    "text_of_value",
    "validate_values",
    "value_of_text",
    "with_defaults",
]
