"""What happens to every request before and after its route: the origin rule, knobs, and broken requests."""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from services.standin.knobs import KnobBoard
from services.standin.origin import is_foreign
from services.standin.routes import wait_out

BROKEN = "500 Internal Server Error\n\nServer got itself in trouble"
KNOBS_PATH = "/standin/knobs"


def guard(knobs: KnobBoard) -> Middleware:
    """A middleware for one server."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if is_foreign(request.headers.get("Host"), request.headers.get("Origin")):
            return web.Response(status=403)
        if request.method == "OPTIONS":
            return web.Response()
        if not request.path.endswith(KNOBS_PATH):
            await wait_out(knobs)
            if knobs.count_down("refuse_next_answers"):
                return _broken()
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except ConnectionError:
            raise
        except Exception:
            return _broken()

    return guarded


def _broken() -> web.Response:
    """What the original answers to anything that it did not expect, malformed JSON included; the connection ends."""
    answer = web.Response(status=500, text=BROKEN)
    answer.force_close()
    return answer
