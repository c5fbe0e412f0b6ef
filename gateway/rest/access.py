"""`/v1/teams` and `/v1/credentials`."""

from typing import Any

from comfyfleet.access.v1 import access_pb2
from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.body import read_object
from gateway.caller import caller_of
from gateway.fields import Fields
from gateway.json_answer import answer, time_text, word
from gateway.openapi import access_pages as pages
from gateway.query import Query, idempotency_key, one_request_id, page
from gateway.rest.runs import CALL_TIMEOUT, next_page
from gateway.rooms import Rooms

_KINDS = {
    name.removeprefix("CREDENTIAL_KIND_").lower(): number
    for name, number in access_pb2.CredentialKind.items()
    if number
}
_NOT_STORED = {"cache-control": "no-store"}


class AccessRoutes:
    """The routes of teams and credentials."""

    def __init__(self, *, rooms: Rooms) -> None:
        self._rooms = rooms

    def router(self) -> APIRouter:
        """The routes."""
        made = APIRouter(tags=["Access"])
        made.get("/v1/teams", **pages.LIST_TEAMS)(self.list_teams)
        made.post("/v1/teams", **pages.CREATE_TEAM)(self.create_team)
        made.get("/v1/teams/{team}", **pages.GET_TEAM)(self.get_team)
        made.get("/v1/credentials", **pages.LIST_CREDENTIALS)(self.list_credentials)
        made.post("/v1/credentials", **pages.CREATE_CREDENTIAL)(self.create_credential)
        made.post("/v1/credentials/{credential_id}:revoke", **pages.REVOKE)(self.revoke)
        return made

    async def list_teams(self, request: Request) -> Response:
        """Show a page of the teams that the caller may see."""
        caller, query = caller_of(request), Query(request)
        size, token = page(query)
        query.done()
        asked = access_pb2.ListTeamsRequest(page_size=size, page_token=token)
        got = await self._rooms.access.ListTeams(asked, metadata=caller.metadata, timeout=CALL_TIMEOUT)
        body = {"teams": [team_json(team) for team in got.teams], "next_page_token": got.next_page_token or None}
        return answer(body, headers=next_page(request, caller, got.next_page_token))

    async def create_team(self, request: Request) -> Response:
        """Make a team."""
        caller = caller_of(request)
        fields = Fields(await read_object(request))
        asked = access_pb2.CreateTeamRequest(
            name=fields.text("name") or "",
            display_name=fields.text("display_name") or "",
            request_id=one_request_id(fields, idempotency_key(request)),
        )
        fields.done()
        got = await self._rooms.access.CreateTeam(asked, metadata=caller.metadata, timeout=CALL_TIMEOUT)
        headers = {"location": f"{caller.url}/v1/teams/{got.team.id}"}
        return answer(team_json(got.team), status=201, headers=headers)

    async def get_team(self, request: Request) -> Response:
        """Show one team."""
        asked = access_pb2.GetTeamRequest(team=request.path_params["team"])
        metadata = caller_of(request).metadata
        got = await self._rooms.access.GetTeam(asked, metadata=metadata, timeout=CALL_TIMEOUT)
        return answer(team_json(got.team))

    async def list_credentials(self, request: Request) -> Response:
        """Show a page of a team's credentials, without their secrets."""
        caller, query = caller_of(request), Query(request)
        size, token = page(query)
        asked = access_pb2.ListCredentialsRequest(page_size=size, page_token=token, team=query.text("team") or "")
        query.done()
        got = await self._rooms.access.ListCredentials(asked, metadata=caller.metadata, timeout=CALL_TIMEOUT)
        body = {
            "credentials": [credential_json(credential) for credential in got.credentials],
            "next_page_token": got.next_page_token or None,
        }
        return answer(body, headers=next_page(request, caller, got.next_page_token))

    async def create_credential(self, request: Request) -> Response:
        """Make a credential; the secret is in this answer and nowhere else."""
        fields = Fields(await read_object(request))
        asked = access_pb2.CreateCredentialRequest(
            kind=fields.choice("kind", _KINDS) or access_pb2.CREDENTIAL_KIND_UNSPECIFIED,
            display_name=fields.text("display_name") or "",
            scopes=fields.strings("scopes") or (),
            expire_time=fields.time("expire_time"),
            team=fields.text("team") or "",
            fleet=fields.boolean("fleet") or False,
            request_id=one_request_id(fields, idempotency_key(request)),
        )
        fields.done()
        metadata = caller_of(request).metadata
        got = await self._rooms.access.CreateCredential(asked, metadata=metadata, timeout=CALL_TIMEOUT)
        body = {**credential_json(got.credential), "secret": got.secret or None}
        return answer(body, status=201, headers=_NOT_STORED)

    async def revoke(self, request: Request) -> Response:
        """Revoke a credential for ever."""
        asked = access_pb2.RevokeCredentialRequest(credential_id=request.path_params["credential_id"])
        metadata = caller_of(request).metadata
        got = await self._rooms.access.RevokeCredential(asked, metadata=metadata, timeout=CALL_TIMEOUT)
        return answer(credential_json(got.credential))


def team_json(team: access_pb2.Team) -> dict[str, Any]:
    """A team."""
    return {
        "id": team.id,
        "name": team.name,
        "display_name": team.display_name or None,
        "create_time": time_text(team, "create_time"),
    }


def credential_json(credential: access_pb2.Credential) -> dict[str, Any]:
    """A credential's record."""
    return {
        "id": credential.id,
        "team_id": credential.team_id or None,
        "kind": word(access_pb2.CredentialKind, credential.kind, "CREDENTIAL_KIND_"),
        "display_name": credential.display_name or None,
        "prefix": credential.prefix,
        "scopes": list(credential.scopes),
        "create_time": time_text(credential, "create_time"),
        "expire_time": time_text(credential, "expire_time"),
        "revoke_time": time_text(credential, "revoke_time"),
    }
