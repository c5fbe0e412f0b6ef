"""Answers the routes that every run takes without the framework's layers around them, which cost more than the answer.

The functions are those that the framework has under the same paths: it documents them, and answers everything else.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

Answer = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True)
class HotRoute:
    """One route; `path` as the framework writes it, such as `/v1/runs/{run_id}`."""

    method: str
    path: str
    answer: Answer


class HotRoutes:
    """An application in front of `app`, for the door, which turns errors into answers."""

    def __init__(self, app: ASGIApp, routes: Sequence[HotRoute]) -> None:
        self._app = app
        self._fixed = {(route.method, route.path): route.answer for route in routes if "{" not in route.path}
        self._patterns = [
            (route.method, compile_path(route.path)[0], route.answer) for route in routes if "{" in route.path
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._find(scope)
        if answer is None:
            await self._app(scope, receive, send)
            return
        response = await answer(Request(scope, receive, send))
        await response(scope, receive, send)

    def _find(self, scope: Scope) -> Answer | None:
        method, path = scope["method"], scope["path"]
        if (fixed := self._fixed.get((method, path))) is not None:
            scope["path_params"] = {}
            return fixed
        for of, pattern, answer in self._patterns:
            if of == method and (match := pattern.match(path)):
                scope["path_params"] = match.groupdict()
                return answer
        return None
