"""Who is let in, what is remembered of it, and who may call what."""

import asyncio
from datetime import timedelta

import pytest

from services.common.errors import PermissionDenied, Unauthenticated
from services.common.rpc.authentication import Authentication, CachedAuthenticator, FixedAuthenticator
from services.common.rpc.metadata import request_id_of, secret_of
from services.common.rpc.principal import Principal, PrincipalKind
from services.common.rpc.rule import agent_only, authenticated, scoped, scoped_or_granted, service_only
from tests.servers.clock import MovableClock


def _principal(kind: PrincipalKind = PrincipalKind.INTEGRATION, *scopes: str) -> Principal:
    return Principal(kind=kind, credential_id="c1", team_id="t1", scopes=frozenset(scopes))


class Book:
    """An authenticator that answers when it is told to."""

    def __init__(self, principal: Principal | None) -> None:
        self.principal = principal
        self.asked = 0
        self.was_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def authenticate(self, secret: str) -> Principal | None:
        self.asked += 1
        self.was_asked.set()
        principal = self.principal
        await self.may_answer.wait()
        if principal is None:
            raise Unauthenticated("No.", reason="CREDENTIAL_UNKNOWN")
        return principal


async def test_an_answer_is_remembered_and_a_refusal_is_not() -> None:
    book = Book(None)
    cached = CachedAuthenticator(book, clock=MovableClock())
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await cached.authenticate("sk-1")
    book.principal = _principal()
    assert await cached.authenticate("sk-1") == await cached.authenticate("sk-1")
    assert book.asked == 3


async def test_a_forgotten_credential_is_asked_for_again() -> None:
    book = Book(_principal())
    cached = CachedAuthenticator(book, clock=MovableClock())
    await cached.authenticate("sk-1")
    cached.forget("c1")
    book.principal = None
    with pytest.raises(Unauthenticated):
        await cached.authenticate("sk-1")


async def test_an_answer_that_was_under_way_during_a_revocation_is_not_remembered() -> None:
    book = Book(_principal())
    cached = CachedAuthenticator(book, clock=MovableClock())
    book.may_answer.clear()
    asking = asyncio.create_task(cached.authenticate("sk-1"))
    await book.was_asked.wait()
    book.principal = None
    cached.forget("c1")
    book.may_answer.set()
    await asking
    with pytest.raises(Unauthenticated):
        await cached.authenticate("sk-1")


async def test_a_caller_that_goes_away_does_not_take_the_answer_from_others() -> None:
    book = Book(_principal())
    cached = CachedAuthenticator(book, clock=MovableClock())
    book.may_answer.clear()
    gone, staying = (asyncio.create_task(cached.authenticate("sk-1")) for _ in range(2))
    await book.was_asked.wait()
    gone.cancel()
    book.may_answer.set()
    assert await staying == book.principal
    assert book.asked == 1


async def test_a_remembered_credential_still_expires() -> None:
    clock = MovableClock()
    principal = Principal(
        kind=PrincipalKind.INTEGRATION, credential_id="c1", team_id="t1", expires_at=clock.now() + timedelta(seconds=1)
    )
    cached = CachedAuthenticator(Book(principal), clock=clock)
    assert await cached.authenticate("sk-1") == principal
    clock.move(timedelta(seconds=1))
    with pytest.raises(Unauthenticated) as refused:
        await cached.authenticate("sk-1")
    assert refused.value.reason == "CREDENTIAL_EXPIRED"


async def test_a_fixed_secret_opens_only_its_own_door() -> None:
    agent = _principal(PrincipalKind.AGENT, "queue:synchronize")
    chain = Authentication(
        service_credentials=[], authenticators=[FixedAuthenticator(secret="ak-own", principal=agent)]
    )
    assert await chain.principal_of({"authorization": "Bearer ak-own"}) == agent
    for secret in ("ak-other", "svc-any", "ak-öwn"):
        with pytest.raises(Unauthenticated):
            await chain.principal_of({"authorization": f"Bearer {secret}"})


async def test_without_service_credentials_an_empty_one_is_refused() -> None:
    chain = Authentication(service_credentials=[], authenticators=[])
    with pytest.raises(Unauthenticated):
        await chain.principal_of({"authorization": "Bearer svc-"})


@pytest.mark.parametrize(
    ("metadata", "secret"),
    [
        ({}, None),
        ({"authorization": "Bearer sk-1"}, "sk-1"),
        ({"authorization": "bearer  sk-1 "}, "sk-1"),
        ({"authorization": "Basic sk-1"}, None),
        ({"authorization": "Bearer "}, None),
        ({"x-api-key": "sk-2"}, "sk-2"),
        ({"authorization": "Basic x", "x-api-key": "sk-2"}, "sk-2"),
        ({"authorization": "Bearer sk-1", "x-api-key": "sk-2"}, "sk-1"),
    ],
)
def test_the_secret_is_found_in_the_metadata(metadata: dict[str, str | bytes], secret: str | None) -> None:
    assert secret_of(metadata) == secret


def test_only_a_printable_request_id_is_taken_over() -> None:
    assert request_id_of({"x-request-id": "abc-1"}) == "abc-1"
    for wrong in ("", "a b", "x" * 129, b"bytes"):
        assert len(request_id_of({"x-request-id": wrong})) == 36


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        (scoped("runs:read"), {"reader", "service"}),
        (scoped("teams:read", "runs:read"), {"reader", "service"}),
        (scoped_or_granted("runs:read"), {"reader", "service", "grant"}),
        (service_only(), {"service"}),
        (agent_only(), {"agent"}),
        (authenticated(), {"reader", "writer", "service"}),
    ],
)
def test_rules_let_pass_whom_they_name(rule: object, passes: set[str]) -> None:
    principals = {
        "reader": _principal(PrincipalKind.INTEGRATION, "runs:read"),
        "writer": _principal(PrincipalKind.INTEGRATION, "runs:write"),
        "service": _principal(PrincipalKind.SERVICE),
        "agent": _principal(PrincipalKind.AGENT, "queue:synchronize"),
        "bare agent": _principal(PrincipalKind.AGENT),
        "grant": _principal(PrincipalKind.RUN_GRANT),
    }
    passed = set()
    for name, principal in principals.items():
        try:
            rule.check(principal)  # type: ignore[attr-defined]
        except PermissionDenied:
            continue
        passed.add(name)
    assert passed == passes


def test_a_principal_without_team_is_told_to_use_one_of_a_team() -> None:
    with pytest.raises(PermissionDenied) as refused:
        Principal(kind=PrincipalKind.AGENT, credential_id="c").team()
    assert refused.value.reason == "NO_TEAM"
