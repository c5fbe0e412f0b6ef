"""`/docs`: the document as a page, from assets that are installed with us; no other address is ever asked."""

from importlib.resources import files

import swagger_ui_bundle
from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.problems import HttpError

_ASSETS = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
_START = b"""window.addEventListener("load", () => {
  SwaggerUIBundle({ url: "openapi.json", dom_id: "#page", validatorUrl: null, deepLinking: true });
});
"""
_PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ComfyFleet API</title>
<link rel="icon" type="image/png" href="docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script src="docs/assets/start.js"></script>
</head>
<body><div id="page"></div></body>
</html>
"""
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"


def docs_router() -> APIRouter:
    """The routes of the page."""
    made = APIRouter(include_in_schema=False)
    made.get("/docs", response_class=Response, response_model=None)(_docs)
    made.get("/docs/assets/{name}", response_class=Response, response_model=None)(_asset)
    return made


async def _docs(_request: Request) -> Response:
    return Response(_PAGE, media_type="text/html", headers={"content-security-policy": _POLICY})


async def _asset(request: Request) -> Response:
    name: str = request.path_params["name"]
    headers = {"cache-control": "public, max-age=86400", "x-content-type-options": "nosniff"}
    if name == "start.js":
        return Response(_START, headers={**headers, "content-type": "text/javascript; charset=utf-8"})
    if name not in _ASSETS:
        raise HttpError(404, "There is no such asset.", reason="NOT_FOUND")
    # The wheel keeps one folder per version of the page.
    folder = next(one for one in (files(swagger_ui_bundle) / "vendor").iterdir() if one.name.startswith("swagger-ui-"))
    return Response((folder / name).read_bytes(), headers={**headers, "content-type": _ASSETS[name]})
