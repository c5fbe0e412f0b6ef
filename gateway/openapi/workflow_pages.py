"""Pages of the routes of workflows."""

from dataclasses import dataclass
from typing import Any

from gateway.openapi.kinds import Schema, ref
from gateway.openapi.page import FILTER, IDEMPOTENCY_KEY, PAGE, json_content, page, parameter

TEAM = parameter("team", "Name of the team.", place="path")
WORKFLOW = parameter("workflow", "Id or slug, with an optional `@version`.", place="path")
SLUG = parameter("workflow", "Slug, with an optional `@version`.", place="path")
_VIEW = parameter("view", "`full` adds the graph.", schema={"type": "string", "enum": ["basic", "full"]})

GRAPH_EXAMPLE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "example"}},
}

LIST: dict[str, Any] = page(
    "listWorkflows",
    "List workflows",
    parameters=[*PAGE, *FILTER],
    answers={200: json_content(ref("WorkflowPage"))},
    problems=[400],
)
CREATE: dict[str, Any] = page(
    "createWorkflow",
    "Store a workflow",
    parameters=[IDEMPOTENCY_KEY],
    body=json_content(ref("WorkflowRequest"), {"display_name": "Colour", "graph": GRAPH_EXAMPLE}),
    answers={201: json_content(ref("Workflow"))},
    problems=[400, 409, 413],
)
DISCOVER: dict[str, Any] = page(
    "discoverParameters",
    "Say what parameters a graph has",
    body=json_content(ref("DiscoverRequest"), {"graph": GRAPH_EXAMPLE}),
    answers={200: json_content(ref("Discovery"))},
    problems=[400, 413],
)


@dataclass(frozen=True, kw_only=True)
class Pages:
    """Pages of the routes that name one workflow, in one form of the reference."""

    get: dict[str, Any]
    update: dict[str, Any]
    delete: dict[str, Any]
    versions: dict[str, Any]


def _pages(suffix: str, reference: list[Schema]) -> Pages:
    return Pages(
        get=page(
            f"getWorkflow{suffix}",
            "Show a workflow",
            parameters=[*reference, _VIEW],
            answers={200: json_content(ref("Workflow"))},
            problems=[400, 404],
        ),
        update=page(
            f"updateWorkflow{suffix}",
            "Change a workflow",
            parameters=[
                *reference,
                IDEMPOTENCY_KEY,
                parameter("If-Match", "ETag of the workflow as it was seen.", place="header"),
            ],
            body=json_content(ref("WorkflowChange"), {"description": "Fills an image with one colour."}),
            answers={200: json_content(ref("Workflow"))},
            problems=[400, 404, 409, 412, 413],
        ),
        delete=page(
            f"deleteWorkflow{suffix}", "Delete a workflow", parameters=reference, answers={204: {}}, problems=[404]
        ),
        versions=page(
            f"listVersions{suffix}",
            "List a workflow's versions",
            parameters=[*reference, *PAGE],
            answers={200: json_content(ref("VersionPage"))},
            problems=[400, 404],
        ),
    )


FORMS = (_pages("", [WORKFLOW]), _pages("OfTeam", [TEAM, SLUG]))
