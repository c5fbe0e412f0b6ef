"""Who may call a method: one rule for each, kept beside its servicer and checked by the interceptor."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.common.errors import PermissionDenied
from services.common.rpc.principal import Principal, PrincipalKind

_CALLERS = frozenset({PrincipalKind.INTEGRATION, PrincipalKind.DEVICE, PrincipalKind.USER, PrincipalKind.SERVICE})


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Which principals pass; what they may do to which object is the service's to decide."""

    kinds: frozenset[PrincipalKind]
    scopes: tuple[str, ...] = ()
    """One of them is needed, but not by SERVICE (which holds all) and RUN_GRANT (which carries its own limits)."""
    public: bool = False
    """No credential is asked for."""
    endless: bool = False
    """A stream without an end of its own: the server ends it when it stops, instead of waiting for it."""

    def check(self, principal: Principal) -> None:
        """PermissionDenied if `principal` may not call."""
        if principal.kind not in self.kinds:
            raise PermissionDenied(
                f"A credential of kind {principal.kind} may not call this method.", reason="WRONG_CREDENTIAL_KIND"
            )
        if not self.scopes or principal.kind is PrincipalKind.RUN_GRANT or any(map(principal.may, self.scopes)):
            return
        raise PermissionDenied(
            f"Use a credential with the scope {' or '.join(self.scopes)}.",
            reason="SCOPE_MISSING",
            metadata={"scope": self.scopes[0]},
        )


def scoped(*scopes: str, endless: bool = False) -> Rule:
    """Callers that hold one of `scopes`, and rooms."""
    return Rule(kinds=_CALLERS, scopes=scopes, endless=endless)


def scoped_or_granted(scope: str, *, endless: bool = False) -> Rule:
    """As `scoped`, and dispatchers with a run's file token."""
    return Rule(kinds=_CALLERS | {PrincipalKind.RUN_GRANT}, scopes=(scope,), endless=endless)


def service_only() -> Rule:
    """Other rooms."""
    return Rule(kinds=frozenset({PrincipalKind.SERVICE}))


def agent_only(*, endless: bool = False) -> Rule:
    """Dispatchers."""
    return Rule(kinds=frozenset({PrincipalKind.AGENT}), scopes=("queue:synchronize",), endless=endless)


def authenticated() -> Rule:
    """Whoever has a valid credential of a team, whatever its scopes, and rooms."""
    return Rule(kinds=_CALLERS)


def anyone() -> Rule:
    """No credential needed: health and reflection."""
    return Rule(kinds=frozenset(PrincipalKind), public=True)


def service_rules(service: str, rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """The rules of `service` (its full name) by full method path, from those by method name."""
    return {f"/{service}/{method}": rule for method, rule in rules.items()}
