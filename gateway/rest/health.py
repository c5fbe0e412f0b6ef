"""`/healthz` and `/readyz`, for probes; open to everybody."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.health import RoomsHealth
from gateway.json_answer import answer


class HealthRoutes:
    """The routes of probes."""

    def __init__(self, *, health: RoomsHealth) -> None:
        self._health = health

    def router(self) -> APIRouter:
        """The routes."""
        made = APIRouter(include_in_schema=False)
        for method in (made.get, made.head):
            method("/healthz", response_class=Response, response_model=None)(self.alive)
            method("/readyz", response_class=Response, response_model=None)(self.ready)
        return made

    async def alive(self, _request: Request) -> Response:
        """200 as long as this process answers."""
        return answer({"status": "ok"})

    async def ready(self, _request: Request) -> Response:
        """200 when every room behind us serves, else 503 with those that do not."""
        away = ["gateway"] if self._health.stopping else await self._health.away()
        if away:
            return answer({"status": "away", "away": away}, status=503, headers={"retry-after": "1"})
        return answer({"status": "ok"})
