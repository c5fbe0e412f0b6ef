"""Pages of the routes of runs."""

from typing import Any

from gateway.openapi.kinds import Schema, ref
from gateway.openapi.page import FILTER, IDEMPOTENCY_KEY, PAGE, json_content, page, parameter
from gateway.openapi.workflow_pages import SLUG, TEAM, WORKFLOW

RUN_ID = parameter("run_id", "Id of the run.", place="path")
_PREFER = parameter("Prefer", "`wait=60`: answer when the run has ended, or after so many seconds.", place="header")
_ACCEPT = parameter("Accept", "`text/event-stream`: answer with the run's events.", place="header")
_VIEW = parameter("view", "`full` adds graph, parameters and overrides.", schema={"enum": ["basic", "full"]})

_EVENT_EXAMPLE = (
    "retry: 3000\n\nid: 1\nevent: snapshot\n"
    'data: {"run_id": "…", "sequence": 1, "time": "2026-11-21T20:00:00Z", "run": {"state": "QUEUED"}}\n\n'
)
_EVENTS: Schema = {
    "text/event-stream": {
        "schema": {
            "type": "string",
            "description": "Events `snapshot`, `state_changed`, `attempt_started`, `output_added`, `cancel_requested`, "
            "`progress`, `preview`, `problem`, with JSON data as in RunEvent. Ids are the run's `sequence`.",
        },
        "example": _EVENT_EXAMPLE,
    }
}


def _body(schema: str, example: Schema) -> Schema:
    return {
        **json_content(ref(schema), example),
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "description": "Text parts are parameters, file parts are uploaded and their ids become parameters.",
                "properties": {"_run": ref(schema)},
                "additionalProperties": {"type": "string"},
            }
        },
    }


def _create(operation_id: str, summary: str, reference: list[Schema], body: Schema) -> dict[str, Any]:
    made = {**json_content(ref("Run")), **_EVENTS}
    return page(
        operation_id,
        summary,
        parameters=[*reference, IDEMPOTENCY_KEY, _PREFER, _ACCEPT],
        body=body,
        answers={201: json_content(ref("Run")), 200: made},
        problems=[400, 404, 409, 412, 413, 429],
    )


_OF_WORKFLOW = _body("WorkflowRunRequest", {"parameters": {"seed": 18446744073709551615}})

CREATE = _create(
    "createRun",
    "Run a workflow or a graph",
    [],
    _body("RunRequest", {"workflow": "colour", "parameters": {"seed": 18446744073709551615}, "timeout": "600s"}),
)
CREATE_OF_WORKFLOW = _create("createRunOfWorkflow", "Run a workflow", [WORKFLOW], _OF_WORKFLOW)
CREATE_OF_TEAM_WORKFLOW = _create("createRunOfTeamWorkflow", "Run a workflow of a team", [TEAM, SLUG], _OF_WORKFLOW)
_LISTED = json_content(ref("RunPage"))
LIST = page("listRuns", "List runs", parameters=[*PAGE, *FILTER], answers={200: _LISTED}, problems=[400])
LIST_OF_WORKFLOW = page(
    "listRunsOfWorkflow",
    "List the runs of a workflow",
    parameters=[WORKFLOW, *PAGE, *FILTER],
    answers={200: _LISTED},
    problems=[400, 404],
)
LIST_OF_TEAM_WORKFLOW = page(
    "listRunsOfTeamWorkflow",
    "List the runs of a team's workflow",
    parameters=[TEAM, SLUG, *PAGE, *FILTER],
    answers={200: _LISTED},
    problems=[400, 404],
)
GET = page(
    "getRun",
    "Show a run",
    parameters=[RUN_ID, _PREFER, _VIEW],
    answers={200: json_content(ref("Run"))},
    problems=[400, 404],
)
CANCEL = page(
    "cancelRun",
    "Ask that a run stop",
    parameters=[RUN_ID],
    answers={200: json_content(ref("Run"))},
    problems=[404],
)
EVENTS = page(
    "watchRun",
    "Stream a run's events",
    parameters=[
        RUN_ID,
        parameter("Last-Event-ID", "Id of the last event seen; what followed is sent.", place="header"),
        parameter("after_sequence", "The same, for clients that cannot set headers.", schema={"type": "integer"}),
        parameter("progress", "Whether progress is sent. Default true.", schema={"type": "boolean"}),
        parameter("previews", "Whether previews are sent. Default false.", schema={"type": "boolean"}),
    ],
    answers={200: _EVENTS, 204: {}},
    problems=[400, 404],
)
