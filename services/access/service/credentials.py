"""Use cases of credentials."""

from dataclasses import dataclass

from services.access.model.credential import Credential, CredentialKind, NewCredential
from services.access.model.replay import Replay, replay_of
from services.access.model.scope import AGENT_SCOPES, TEAM_SCOPES, Scope
from services.access.model.secret import Secret, new_secret, secret_of
from services.access.service.ports import Facts, Wake
from services.access.service.teams import Teams
from services.access.store.credentials import CredentialStore
from services.common.clock import Clock
from services.common.errors import InvalidArgument, NotFound, PermissionDenied, Unauthenticated
from services.common.filtering import Page
from services.common.ids import new_id
from services.common.json_bytes import JsonValue
from services.common.rpc.principal import Principal, PrincipalKind

_PRINCIPAL_KINDS = {
    CredentialKind.INTEGRATION: PrincipalKind.INTEGRATION,
    CredentialKind.AGENT: PrincipalKind.AGENT,
}


@dataclass(frozen=True, kw_only=True)
class CreatedCredential:
    """A credential, and its secret for the only time."""

    credential: Credential
    secret: Secret | None
    """None: the same request made it before."""


class Credentials:
    """Makes, shows, revokes and recognises credentials."""

    def __init__(self, *, store: CredentialStore, teams: Teams, facts: Facts, wake: Wake, clock: Clock) -> None:
        self._store = store
        self._teams = teams
        self._facts = facts
        self._wake = wake
        self._clock = clock

    async def create(
        self, caller: Principal, wish: NewCredential, *, secret: Secret | None = None
    ) -> CreatedCredential:
        """A new credential, with `secret` or (as always but at bootstrap) a fresh one.

        InvalidArgument with all violations; PermissionDenied for a scope that the caller does not hold; NotFound for a
        team that it may not see; AlreadyExists REQUEST_ID_TAKEN.
        """
        now = self._clock.now()
        violations = wish.violations(now)
        if violations or wish.kind is None:
            raise InvalidArgument(violations=violations)
        team_id = await self._team_of(caller, wish)
        secret = secret or new_secret(wish.kind.prefix)
        credential = Credential(
            id=new_id(),
            kind=wish.kind,
            team_id=team_id,
            display_name=wish.display_name,
            prefix=secret.prefix,
            scopes=_scopes(caller, wish),
            created_at=now,
            expires_at=wish.expires_at,
        )
        kept, is_new = await self._store.add(credential, secret, _replay(caller, wish, team_id))
        return CreatedCredential(credential=kept, secret=secret if is_new else None)

    async def list(self, caller: Principal, *, team: str, page_size: int, page_token: str) -> Page[Credential]:
        """Credentials of a team (empty: the caller's), newest first; NotFound for one that it may not see."""
        team_id = (await self._teams.get(caller, team)).id
        return await self._store.list(team_id, page_size=page_size, page_token=page_token)

    async def revoke(self, caller: Principal, credential_id: str, *, request_id: str | None) -> Credential:
        """Revoke a credential for ever; NotFound if it is not the caller's."""
        of_team = None if caller.may(Scope.INSTALLATION_ADMIN) else caller.team()
        found = await self._store.find(credential_id)
        if found is None or (of_team is not None and found.team_id != of_team):
            raise _credential_not_found()
        event = self._facts.credential_revoked(found, request_id=request_id)
        revoked = await self._store.revoke(credential_id, of_team=of_team, at=self._clock.now(), event=event)
        if revoked is None:
            raise _credential_not_found()
        self._wake()
        return revoked

    async def authenticate(self, text: str) -> Principal:
        """Whom a secret acts for; Unauthenticated if it is unknown, revoked or expired."""
        secret = secret_of(text)
        known = None if secret is None else await self._store.find_by_public_id(secret.public_id)
        if secret is None or known is None or not secret.matches(known.digest):
            raise Unauthenticated("The credential is not known here.", reason="CREDENTIAL_UNKNOWN")
        credential = known.credential
        if credential.revoked_at is not None:
            raise Unauthenticated("The credential was revoked; use another.", reason="CREDENTIAL_REVOKED")
        if credential.expires_at is not None and credential.expires_at <= self._clock.now():
            raise Unauthenticated("The credential has expired; make a new one.", reason="CREDENTIAL_EXPIRED")
        return Principal(
            kind=_PRINCIPAL_KINDS[credential.kind],
            credential_id=credential.id,
            team_id=credential.team_id,
            team_name=known.team_name,
            scopes=credential.scopes,
            expires_at=credential.expires_at,
        )

    async def _team_of(self, caller: Principal, wish: NewCredential) -> str | None:
        if not wish.fleet:
            return (await self._teams.get(caller, wish.team)).id
        if not caller.may(Scope.INSTALLATION_ADMIN):
            raise PermissionDenied(
                "Use a credential with the scope installation:admin.",
                reason="SCOPE_MISSING",
                metadata={"scope": Scope.INSTALLATION_ADMIN},
            )
        return None


def _scopes(caller: Principal, wish: NewCredential) -> frozenset[str]:
    """What the credential will hold: never more than its maker does."""
    if wish.kind is CredentialKind.AGENT:
        return frozenset(AGENT_SCOPES)
    if not wish.scopes:
        return frozenset(scope for scope in TEAM_SCOPES if caller.may(scope))
    missing = sorted(scope for scope in wish.wanted_scopes() if not caller.may(scope))
    if missing:
        raise PermissionDenied(
            f"You can only grant scopes that you hold; leave out {', '.join(missing)}.",
            reason="SCOPE_NOT_HELD",
            metadata={"scopes": " ".join(missing)},
        )
    return frozenset(wish.wanted_scopes())


def _replay(caller: Principal, wish: NewCredential, team_id: str | None) -> Replay | None:
    content: JsonValue = [
        "credential",
        wish.kind,
        wish.display_name,
        " ".join(sorted(wish.scopes)),
        None if wish.expires_at is None else wish.expires_at.isoformat(),
        team_id,
    ]
    return replay_of(caller.team_id or "", wish.request_id, content)


def _credential_not_found() -> NotFound:
    return NotFound("No such credential.", reason="CREDENTIAL_NOT_FOUND")
