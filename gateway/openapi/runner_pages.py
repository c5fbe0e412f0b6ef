"""Pages of the routes of runners."""

from gateway.openapi.kinds import ref
from gateway.openapi.page import PAGE, json_content, page, parameter

LIST = page(
    "listRunners",
    "List runners",
    parameters=PAGE,
    answers={200: json_content(ref("RunnerPage"))},
    problems=[400],
)
GET = page(
    "getRunner",
    "Show a runner",
    parameters=[parameter("runner_id", "Id of the runner.", place="path")],
    answers={200: json_content(ref("Runner"))},
    problems=[404],
)
