"""The access room's own authenticator: for servers in its process, which need not ask by RPC."""

from services.access.service.credentials import Credentials
from services.common.rpc.principal import Principal


class LocalAuthenticator:
    """Knows every credential of the installation."""

    def __init__(self, *, credentials: Credentials) -> None:
        self._credentials = credentials

    async def authenticate(self, secret: str) -> Principal | None:
        return await self._credentials.authenticate(secret)
