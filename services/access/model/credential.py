"""Credentials: secrets that act for a team, or for the installation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.access.model.scope import AGENT_SCOPES, GRANTABLE, Scope
from services.access.model.team import MAX_DISPLAY_NAME, request_id_violations, storable
from services.common.errors import Violation


class CredentialKind(StrEnum):
    """What a credential acts as."""

    INTEGRATION = "INTEGRATION"
    AGENT = "AGENT"

    @property
    def prefix(self) -> str:
        """First characters of its secrets."""
        return {CredentialKind.INTEGRATION: "sk-", CredentialKind.AGENT: "ak-"}[self]


@dataclass(frozen=True, kw_only=True)
class Credential:
    """The record of a secret."""

    id: str
    kind: CredentialKind
    team_id: str | None
    """None: an agent of the installation."""
    display_name: str
    prefix: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class NewCredential:
    """A wish for a credential."""

    kind: CredentialKind | None
    """None: not said, or not one that can be made."""
    display_name: str
    scopes: Sequence[str] = ()
    """Empty: all that the kind can do in a team and the maker holds."""
    expires_at: datetime | None = None
    team: str = ""
    """Id or name. Empty: the maker's."""
    fleet: bool = False
    """An agent of the installation."""
    request_id: str = ""

    def violations(self, now: datetime) -> list[Violation]:
        """Everything that is wrong with it."""
        found = []
        if self.kind is None:
            found.append(Violation("kind", "BAD_KIND", "Give CREDENTIAL_KIND_INTEGRATION or CREDENTIAL_KIND_AGENT."))
        if not 0 < len(self.display_name) <= MAX_DISPLAY_NAME or not storable(self.display_name):
            message = f"Use 1 to {MAX_DISPLAY_NAME} characters, without control characters."
            found.append(Violation("display_name", "BAD_DISPLAY_NAME", message))
        found += self._scope_violations()
        if self.expires_at is not None and self.expires_at <= now:
            found.append(Violation("expire_time", "IN_THE_PAST", "Give a time to come, or none."))
        if self.fleet and self.kind is not CredentialKind.AGENT:
            found.append(Violation("fleet", "NOT_AN_AGENT", "Only an AGENT can act for the installation."))
        if self.fleet and self.team:
            found.append(Violation("team", "FLEET_HAS_NO_TEAM", "Give a team or `fleet`, not both."))
        return found + request_id_violations(self.request_id)

    def _scope_violations(self) -> list[Violation]:
        allowed = AGENT_SCOPES if self.kind is CredentialKind.AGENT else GRANTABLE
        return [
            Violation(f"scopes[{index}]", "UNKNOWN_SCOPE", f"Use any of {', '.join(sorted(allowed))}.")
            for index, scope in enumerate(self.scopes)
            if scope not in set[str](allowed)
        ]

    def wanted_scopes(self) -> frozenset[Scope]:
        """Those named, after `violations` was empty."""
        return frozenset(Scope(scope) for scope in self.scopes)
