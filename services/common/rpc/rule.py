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
    scope: str | None = None
    """Needed by all but SERVICE (which holds all) and RUN_GRANT (which carries its own limits)."""
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
        if self.scope is None or principal.kind is PrincipalKind.RUN_GRANT or principal.may(self.scope):
            return
        raise PermissionDenied(
            f"Use a credential with the scope {self.scope}.", reason="SCOPE_MISSING", metadata={"scope": self.scope}
        )


def scoped(scope: str, *, endless: bool = False) -> Rule:
    """Callers of a team that hold `scope`, and rooms."""
    return Rule(kinds=_CALLERS, scope=scope, endless=endless)


def scoped_or_granted(scope: str, *, endless: bool = False) -> Rule:
    """As `scoped`, and dispatchers with a run's file token."""
    return Rule(kinds=_CALLERS | {PrincipalKind.RUN_GRANT}, scope=scope, endless=endless)


def service_only() -> Rule:
    """Other rooms."""
    return Rule(kinds=frozenset({PrincipalKind.SERVICE}))


def agent_only(*, endless: bool = False) -> Rule:
    """Dispatchers."""
    return Rule(kinds=frozenset({PrincipalKind.AGENT}), scope="queue:synchronize", endless=endless)


def authenticated() -> Rule:
    """Whoever has a valid credential of a team, whatever its scopes, and rooms."""
    return Rule(kinds=_CALLERS)


def anyone() -> Rule:
    """No credential needed: health and reflection."""
    return Rule(kinds=frozenset(PrincipalKind), public=True)


def service_rules(service: str, rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """The rules of `service` (its full name) by full method path, from those by method name."""
    return {f"/{service}/{method}": rule for method, rule in rules.items()}
