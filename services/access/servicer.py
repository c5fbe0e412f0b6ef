"""The access room's gRPC door."""

from datetime import UTC, datetime
from typing import Any

from comfyfleet.access.v1 import access_pb2 as pb
from comfyfleet.access.v1 import access_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.access.model.credential import Credential, CredentialKind, NewCredential
from services.access.model.scope import Scope
from services.access.model.team import NewTeam, Team
from services.access.service.credentials import Credentials
from services.access.service.teams import Teams
from services.common.errors import InvalidArgument, Violation
from services.common.rpc.metadata import current_request_id
from services.common.rpc.principal import Principal, PrincipalKind, current_principal
from services.common.rpc.rule import scoped, service_only, service_rules

RULES = service_rules(
    "comfyfleet.access.v1.AccessService",
    {
        "CreateTeam": scoped(Scope.INSTALLATION_ADMIN),
        "GetTeam": scoped(Scope.TEAMS_READ, Scope.INSTALLATION_ADMIN),
        "ListTeams": scoped(Scope.TEAMS_READ, Scope.INSTALLATION_ADMIN),
        "CreateCredential": scoped(Scope.CREDENTIALS_WRITE),
        "ListCredentials": scoped(Scope.CREDENTIALS_READ),
        "RevokeCredential": scoped(Scope.CREDENTIALS_WRITE),
        "Authenticate": service_only(),
    },
)

_MAKEABLE = {
    pb.CREDENTIAL_KIND_INTEGRATION: CredentialKind.INTEGRATION,
    pb.CREDENTIAL_KIND_AGENT: CredentialKind.AGENT,
}
_KINDS = {kind: number for number, kind in _MAKEABLE.items()}
_PRINCIPAL_KINDS = {
    PrincipalKind.INTEGRATION: pb.CREDENTIAL_KIND_INTEGRATION,
    PrincipalKind.AGENT: pb.CREDENTIAL_KIND_AGENT,
}


class AccessServicer(access_pb2_grpc.AccessServiceServicer):
    """Serves AccessService."""

    def __init__(self, *, teams: Teams, credentials: Credentials) -> None:
        self._teams = teams
        self._credentials = credentials

    async def CreateTeam(self, request: pb.CreateTeamRequest, _context: Any) -> pb.CreateTeamResponse:
        wish = NewTeam(name=request.name, display_name=request.display_name, request_id=request.request_id)
        return pb.CreateTeamResponse(team=team_to_proto(await self._teams.create(current_principal(), wish)))

    async def GetTeam(self, request: pb.GetTeamRequest, _context: Any) -> pb.GetTeamResponse:
        return pb.GetTeamResponse(team=team_to_proto(await self._teams.get(current_principal(), request.team)))

    async def ListTeams(self, request: pb.ListTeamsRequest, _context: Any) -> pb.ListTeamsResponse:
        page = await self._teams.list(current_principal(), page_size=request.page_size, page_token=request.page_token)
        return pb.ListTeamsResponse(teams=map(team_to_proto, page.rows), next_page_token=page.next_page_token)

    async def CreateCredential(self, request: pb.CreateCredentialRequest, _context: Any) -> pb.CreateCredentialResponse:
        created = await self._credentials.create(current_principal(), new_credential_from_proto(request))
        return pb.CreateCredentialResponse(
            credential=credential_to_proto(created.credential),
            secret=created.secret.text if created.secret is not None else "",
        )

    async def ListCredentials(self, request: pb.ListCredentialsRequest, _context: Any) -> pb.ListCredentialsResponse:
        page = await self._credentials.list(
            current_principal(), team=request.team, page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListCredentialsResponse(
            credentials=map(credential_to_proto, page.rows), next_page_token=page.next_page_token
        )

    async def RevokeCredential(self, request: pb.RevokeCredentialRequest, _context: Any) -> pb.RevokeCredentialResponse:
        revoked = await self._credentials.revoke(
            current_principal(), request.credential_id, request_id=current_request_id()
        )
        return pb.RevokeCredentialResponse(credential=credential_to_proto(revoked))

    async def Authenticate(self, request: pb.AuthenticateRequest, _context: Any) -> pb.AuthenticateResponse:
        return principal_to_proto(await self._credentials.authenticate(request.secret))


def team_to_proto(team: Team) -> pb.Team:
    """A team as the contract has it."""
    return pb.Team(id=team.id, name=team.name, display_name=team.display_name, create_time=_timestamp(team.created_at))


def credential_to_proto(credential: Credential) -> pb.Credential:
    """A credential's record as the contract has it."""
    return pb.Credential(
        id=credential.id,
        team_id=credential.team_id or "",
        kind=_KINDS[credential.kind],
        display_name=credential.display_name,
        prefix=credential.prefix,
        scopes=sorted(credential.scopes),
        create_time=_timestamp(credential.created_at),
        expire_time=_timestamp(credential.expires_at),
        revoke_time=_timestamp(credential.revoked_at),
    )


def principal_to_proto(principal: Principal) -> pb.AuthenticateResponse:
    """What the other rooms learn of a caller."""
    return pb.AuthenticateResponse(
        kind=_PRINCIPAL_KINDS[principal.kind],
        credential_id=principal.credential_id,
        team_id=principal.team_id or "",
        team_name=principal.team_name or "",
        scopes=sorted(principal.scopes),
        expire_time=_timestamp(principal.expires_at),
    )


def new_credential_from_proto(request: pb.CreateCredentialRequest) -> NewCredential:
    """The wish in a request; InvalidArgument for a time that is none."""
    return NewCredential(
        kind=_MAKEABLE.get(request.kind),
        display_name=request.display_name,
        scopes=list(request.scopes),
        expires_at=_moment(request.expire_time) if request.HasField("expire_time") else None,
        team=request.team,
        fleet=request.fleet,
        request_id=request.request_id,
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _moment(stamp: Timestamp) -> datetime:
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        message = "Give a time of the years 1 to 9999."
        raise InvalidArgument(violations=[Violation("expire_time", "BAD_TIME", message)]) from None
