"""How a route names a workflow: `{id or slug}` or `{team}/{slug}`, each with an optional `@version`."""

from starlette.requests import Request

FORMS = ("{workflow}", "{team}/{workflow}")
"""The path segments of a reference, in both forms."""


def reference_of(request: Request) -> str:
    """The reference in the route, as the rooms take it."""
    path = request.path_params
    return f"{path['team']}/{path['workflow']}" if "team" in path else str(path["workflow"])
