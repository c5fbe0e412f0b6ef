"""Pages of the routes of files."""

from gateway.openapi.kinds import Schema, ref
from gateway.openapi.page import FILTER, IDEMPOTENCY_KEY, PAGE, json_content, page, parameter
from gateway.openapi.run_pages import RUN_ID

FILE_ID = parameter("file_id", "Id of the file.", place="path")
_BYTES: Schema = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
_CONDITIONS = [
    parameter("Range", "One range of bytes.", place="header"),
    parameter("If-Range", "ETag for which the range is wanted.", place="header"),
    parameter("If-None-Match", "ETags that the caller has.", place="header"),
]
_CONTENT_ANSWERS: dict[int, Schema] = {200: _BYTES, 206: _BYTES, 304: {}}

UPLOAD = page(
    "uploadFile",
    "Store a file",
    parameters=[
        IDEMPOTENCY_KEY,
        parameter("file_name", "Name for people. Default: that of Content-Disposition, or of the form's part."),
        parameter("media_type", "MIME type. Default: Content-Type."),
        parameter("sha256", "Hash in hex that the bytes must have."),
        parameter(
            "provisional", "Goes after 15 minutes unless a run takes it. Default false.", schema={"type": "boolean"}
        ),
    ],
    body={
        **_BYTES,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary"}},
            }
        },
    },
    answers={201: json_content(ref("File"))},
    problems=[400, 409, 413, 429],
)
IMPORT = page(
    "importFile",
    "Store the bytes of a data: URI",
    parameters=[IDEMPOTENCY_KEY],
    body=json_content(ref("ImportRequest"), {"uri": "data:text/plain;base64,aGVsbG8="}),
    answers={201: json_content(ref("File"))},
    problems=[400, 409, 413],
)
LIST = page(
    "listFiles",
    "List files",
    parameters=[*PAGE, *FILTER],
    answers={200: json_content(ref("FilePage"))},
    problems=[400],
)
GET = page(
    "getFile",
    "Show a file's record",
    parameters=[FILE_ID],
    answers={200: json_content(ref("File"))},
    problems=[404],
)
DELETE = page("deleteFile", "Delete a file", parameters=[FILE_ID], answers={204: {}}, problems=[404, 412])
CONTENT = page(
    "getFileContent",
    "Download a file",
    parameters=[FILE_ID, *_CONDITIONS],
    answers=_CONTENT_ANSWERS,
    problems=[404, 416],
)
OUTPUT = page(
    "getRunOutput",
    "Download an output of a run",
    parameters=[RUN_ID, parameter("name", "Name of the output, or its ordinal.", place="path"), *_CONDITIONS],
    answers=_CONTENT_ANSWERS,
    problems=[404, 416],
)
