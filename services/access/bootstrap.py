"""The first team and the first keys: what nobody can make who has no key yet."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from services.access.model.credential import CredentialKind, NewCredential
from services.access.model.scope import GRANTABLE
from services.access.model.secret import Secret, new_secret, secret_of
from services.access.model.team import NewTeam
from services.access.service.credentials import Credentials
from services.access.service.teams import Teams
from services.common.errors import NotFound, Unauthenticated
from services.common.rpc.principal import Principal, PrincipalKind

FIRST_TEAM = "home"
KEY_FILE = "first-key"
AGENT_FILE = "agent-key"

_INSTALLER = Principal(kind=PrincipalKind.SERVICE, credential_id="bootstrap")


@dataclass(frozen=True, kw_only=True)
class FirstKeys:
    """Secrets of an installation's first credentials."""

    first_key: str | None = field(repr=False)
    """`sk-` of the first team with every scope; None once it was revoked."""
    agent_secret: str = field(repr=False)
    """`ak-` of the installation's own dispatchers; a new one if the last was revoked."""


async def bootstrap(*, teams: Teams, credentials: Credentials, state_dir: Path) -> FirstKeys:
    """Make what is missing; may be repeated at every start, also after a crash half way.

    Each secret is written to a 0600 file of `state_dir` before its credential is made: one that is on file and not
    known is simply made again.
    """
    try:
        team = await teams.get(_INSTALLER, FIRST_TEAM)
    except NotFound:
        team = await teams.create(_INSTALLER, NewTeam(name=FIRST_TEAM, request_id="bootstrap"))
    integration = NewCredential(
        kind=CredentialKind.INTEGRATION, display_name="First key", scopes=sorted(GRANTABLE), team=team.id
    )
    agent = NewCredential(kind=CredentialKind.AGENT, display_name="Dispatchers of this installation", fleet=True)

    def make(wish: NewCredential) -> Callable[[Secret], Awaitable[object]]:
        return lambda secret: credentials.create(_INSTALLER, wish, secret=secret)

    key_file, agent_file = state_dir / KEY_FILE, state_dir / AGENT_FILE
    first_key = await _ensure(credentials, key_file, "sk-", make(integration))
    agent_secret = await _ensure(credentials, agent_file, "ak-", make(agent))
    if agent_secret is None:
        agent_file.unlink()
        agent_secret = await _ensure(credentials, agent_file, "ak-", make(agent))
        assert agent_secret is not None
    return FirstKeys(first_key=first_key, agent_secret=agent_secret)


async def _ensure(
    credentials: Credentials, path: Path, prefix: str, make: Callable[[Secret], Awaitable[object]]
) -> str | None:
    """The secret on file, known to the room; None if it is no good any more."""
    secret = _secret_on_file(path, prefix)
    try:
        await credentials.authenticate(secret.text)
    except Unauthenticated as error:
        if error.reason != "CREDENTIAL_UNKNOWN":
            return None
        await make(secret)
    return secret.text


def _secret_on_file(path: Path, prefix: str) -> Secret:
    if path.exists():
        kept = secret_of(path.read_text(encoding="ascii").strip())
        if kept is not None:
            return kept
    secret = new_secret(prefix)
    partial = path.with_name(f"{path.name}.partial")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{secret.text}\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return secret
