"""`multipart/form-data` bodies, part by part, as they arrive; a truncated one is an error, never a shorter form."""

from collections.abc import AsyncIterator
from typing import TypeAlias

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header
from starlette.requests import Request

from gateway.body import Body
from gateway.problems import ClientGone, HttpError

MAX_PARTS = 1000
FORM = "multipart/form-data"

Event: TypeAlias = "MultipartSegment | bytes | None"
"""The start of a part, bytes of it, or (None) its end."""


def is_form(request: Request) -> bool:
    """Whether the body says that it is a form."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM


async def form_events(request: Request, body: Body) -> AsyncIterator[Event]:
    """Starts, bytes and ends of the parts of `body`; HttpError where it is malformed or truncated."""
    try:
        with _parser(request, body) as parser:
            async for chunk in body:
                for event in parser.parse(chunk):
                    yield event
    except ParserLimitReached as error:
        raise HttpError(413, f"The form is refused: {error}.", reason="FORM_TOO_LARGE") from None
    except MultipartError as error:
        # Some of its errors hold another error, and with it bytes of the form: only words are told.
        detail = ": ".join(word for word in error.args if isinstance(word, str))
        raise HttpError(400, f"The form is malformed: {detail}.", reason="MALFORMED_FORM") from None
    except ClientGone:
        raise HttpError(400, "The connection closed before the end of the form.", reason="MALFORMED_FORM") from None


def _parser(request: Request, body: Body) -> PushMultipartParser:
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get("boundary", "")
    if not 1 <= len(boundary) <= 70 or not boundary.isascii():  # RFC 2046
        raise HttpError(400, "The content type needs a boundary of 1 to 70 ASCII characters.", reason="MALFORMED_FORM")
    length = -1 if body.content_length is None else body.content_length
    return PushMultipartParser(boundary, content_length=length, max_segment_count=MAX_PARTS, strict=True)
