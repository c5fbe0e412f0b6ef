"""Rows to records and back."""

from typing import Any

from sqlalchemy import RowMapping

from services.common.json_bytes import canonical_json, parse_json
from services.common.parameters import OutputDefinition, Parameter
from services.registry.model.definition_json import (
    output_from_json,
    output_to_json,
    parameter_from_json,
    parameter_to_json,
)
from services.registry.model.workflow import Workflow, WorkflowVersion

_MAX_BYTES = 16 * 1024 * 1024


def version_of(row: RowMapping, graph: bytes | None = None) -> WorkflowVersion:
    """A row of `workflow_version`."""
    return WorkflowVersion(
        number=row["number"],
        create_time=row["create_time"],
        note=row["note"],
        content_hash=row["content_hash"],
        graph=graph,
        parameters=tuple(parameter_from_json(made) for made in _list(row["parameters"])),
        outputs=tuple(output_from_json(made) for made in _list(row["outputs"])),
        parameters_discovered=row["parameters_discovered"],
        node_classes=tuple(row["node_classes"]),
    )


def workflow_of(row: RowMapping, version: WorkflowVersion) -> Workflow:
    """A row of `workflow`, with one of its versions."""
    return Workflow(
        id=row["id"],
        team_id=row["team_id"],
        team_name=row["team_name"],
        slug=row["slug"],
        display_name=row["display_name"],
        description=row["description"],
        tags=tuple(row["tags"]),
        create_time=row["create_time"],
        update_time=row["update_time"],
        latest_version=row["latest_version"],
        deleted=row["delete_time"] is not None,
        version=version,
    )


def packed_parameters(parameters: tuple[Parameter, ...]) -> bytes:
    """Parameters as a row keeps them."""
    return canonical_json([parameter_to_json(parameter) for parameter in parameters])


def packed_outputs(outputs: tuple[OutputDefinition, ...]) -> bytes:
    """Outputs as a row keeps them."""
    return canonical_json([output_to_json(output) for output in outputs])


def _list(packed: bytes) -> list[Any]:
    made = parse_json(packed, max_bytes=_MAX_BYTES, max_depth=128)
    assert isinstance(made, list)
    return made
