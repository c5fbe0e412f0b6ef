"""One operation of the document, as the keyword arguments of a FastAPI route."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from gateway.openapi.kinds import Schema, ref

_PROBLEMS = {
    400: "Something in the request is wrong; every violation is named.",
    401: "No credential, or one that is not good.",
    403: "The credential lacks a scope.",
    404: "No such thing, or another team's.",
    409: "A name, a key or a version is taken by something else.",
    412: "The thing is not in a state that allows this.",
    413: "The body is too large.",
    416: "The range lies beyond the end.",
    429: "A limit is reached; see Retry-After.",
    503: "A service is away for a moment; see Retry-After.",
}
_ALWAYS = (401, 403, 503)


def parameter(
    name: str, description: str, *, place: str = "query", schema: Schema | None = None, required: bool = False
) -> Schema:
    """A parameter of the path, the query or the headers."""
    made: Schema = {"name": name, "in": place, "description": description, "schema": schema or {"type": "string"}}
    if required or place == "path":
        made["required"] = True
    return made


def json_content(schema: Schema, example: Any = None) -> Schema:
    """Content of type `application/json`."""
    media: Schema = {"schema": schema}
    if example is not None:
        media["example"] = example
    return {"application/json": media}


def page(
    operation_id: str,
    summary: str,
    *,
    parameters: Sequence[Schema] = (),
    body: Schema | None = None,
    answers: Mapping[int, Schema],
    problems: Sequence[int] = (),
) -> dict[str, Any]:
    """A route's keyword arguments. `body` and each of `answers` (by status) are content by media type, {} for none."""
    responses: dict[int | str, Any] = {}
    for status, content in answers.items():
        responses[status] = {"description": "Done." if content else "Done; no body."}
        if content:
            responses[status]["content"] = content
    for status in sorted({*problems, *_ALWAYS}):
        responses[status] = {
            "description": _PROBLEMS[status],
            "content": {"application/problem+json": {"schema": ref("Problem")}},
        }
    extra: Schema = {"parameters": list(parameters)}
    if body is not None:
        extra["requestBody"] = {"required": True, "content": body}
    return {
        "operation_id": operation_id,
        "summary": summary,
        "status_code": next(iter(answers)),
        "response_class": Response,
        "response_model": None,
        "responses": responses,
        "openapi_extra": extra,
    }


IDEMPOTENCY_KEY = parameter(
    "Idempotency-Key", "The same request again under this key gives the first answer.", place="header"
)
PAGE = (
    parameter(
        "page_size", "Most items to return. Default 50.", schema={"type": "integer", "minimum": 1, "maximum": 1000}
    ),
    parameter("page_token", "`next_page_token` of the page before."),
)
FILTER = (
    parameter("filter", "AIP-160 filter."),
    parameter("order_by", "Field to order by, with an optional ` desc`."),
)
