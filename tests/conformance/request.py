"""The body of a recorded request, to be sent again."""

import io
import json
import re
from typing import Any

import aiohttp

from tests.conformance.normal import Names
from tests.conformance.recording import bytes_of

Json = Any


def request_body(request: dict[str, Json], names: Names) -> Any:
    """The body of a recorded request, with our names in it."""
    if "json" in request:
        return json.dumps(names.translate_json(request["json"])).encode()
    if "raw_body" in request:
        raw = request["raw_body"]
        if raw is not None and (size := re.fullmatch(r"<(\d+) bytes>", raw)):
            return io.BytesIO(bytes(int(size[1])))
        return None if raw is None else raw.replace("\ufffd", "\udcff").encode("utf-8", "surrogateescape")
    if "multipart" not in request:
        return None
    form = aiohttp.FormData(quote_fields=False, default_to_multipart=True)
    for part in request["multipart"]:
        if "filename" in part:
            content = bytes_of(part)
            filled = content if content is not None else b"\0" * part["bytes"]
            form.add_field(
                part["name"], io.BytesIO(filled), filename=part["filename"], content_type=part["content_type"]
            )
        else:
            form.add_field(part["name"], part["value"])
    return form
