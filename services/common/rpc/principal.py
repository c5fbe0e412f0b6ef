"""For whom a call acts."""

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.common.errors import PermissionDenied
from services.common.grant import RunGrant


class PrincipalKind(StrEnum):
    """What sort of credential a call carried."""

    INTEGRATION = "integration"
    """`sk-`: a program of a team."""
    DEVICE = "device"
    """`dk-`: a paired device of a team."""
    USER = "user"
    """A person, by a signed token."""
    AGENT = "agent"
    """`ak-`: a dispatcher, of a team or (without one) of the installation."""
    SERVICE = "service"
    """Another room, for the team named in the call's metadata."""
    RUN_GRANT = "run_grant"
    """A dispatcher holding the file token of one attempt of one run; only the file room takes it."""


@dataclass(frozen=True, kw_only=True)
class Principal:
    """The caller, as the interceptor found it. Servicers hand it on explicitly."""

    kind: PrincipalKind
    credential_id: str
    team_id: str | None = None
    """None: an agent of the installation, or a room acting for no team."""
    team_name: str | None = None
    """None where `team_id` is, and for SERVICE and RUN_GRANT."""
    scopes: frozenset[str] = frozenset()
    expires_at: datetime | None = None
    grant: RunGrant | None = None

    def may(self, scope: str) -> bool:
        """Whether it holds `scope`; the rooms themselves hold all."""
        return self.kind is PrincipalKind.SERVICE or scope in self.scopes

    def team(self) -> str:
        """The id of the team it acts for; PermissionDenied NO_TEAM if it acts for none."""
        if self.team_id is None:
            raise PermissionDenied("This credential acts for no team; use one of a team.", reason="NO_TEAM")
        return self.team_id


_current: ContextVar[Principal] = ContextVar("principal")


def current_principal() -> Principal:
    """The principal of the RPC that this task serves; only for servicers, which pass it on as an argument."""
    return _current.get()


def set_principal(principal: Principal) -> None:
    """Make `principal` the current one of this task; only for the interceptor."""
    _current.set(principal)
