"""Asks the access room whom a secret acts for."""

from datetime import UTC

import grpc
from comfyfleet.access.v1 import access_pb2, access_pb2_grpc

from services.common.rpc.principal import Principal, PrincipalKind
from services.common.status import error_of

DEADLINE_SECONDS = 5.0

_KINDS = {
    access_pb2.CREDENTIAL_KIND_INTEGRATION: PrincipalKind.INTEGRATION,
    access_pb2.CREDENTIAL_KIND_DEVICE: PrincipalKind.DEVICE,
    access_pb2.CREDENTIAL_KIND_AGENT: PrincipalKind.AGENT,
    access_pb2.CREDENTIAL_KIND_USER: PrincipalKind.USER,
}


class RemoteAuthenticator:
    """Knows what AccessService knows, over a channel that carries the service credential."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._access = access_pb2_grpc.AccessServiceStub(channel)

    async def authenticate(self, secret: str) -> Principal | None:
        try:
            answer = await self._access.Authenticate(
                access_pb2.AuthenticateRequest(secret=secret), timeout=DEADLINE_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        return Principal(
            kind=_KINDS[answer.kind],
            credential_id=answer.credential_id,
            team_id=answer.team_id or None,
            team_name=answer.team_name or None,
            scopes=frozenset(answer.scopes),
            expires_at=answer.expire_time.ToDatetime(UTC) if answer.HasField("expire_time") else None,
        )
