"""The access room's rows and use cases, on SQLite and on PostgreSQL."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from services.access.bootstrap import AGENT_FILE, KEY_FILE, bootstrap
from services.access.model.credential import CredentialKind, NewCredential
from services.access.model.scope import TEAM_SCOPES
from services.access.model.secret import new_secret
from services.access.model.team import NewTeam, Team
from services.access.room import UseCases, use_cases
from services.access.service.credentials import CreatedCredential
from services.access.store.tables import CredentialRow, tables
from services.common.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied, Unauthenticated
from services.common.rpc.principal import Principal, PrincipalKind
from services.common.sql import Database
from tests.servers.clock import MovableClock
from tests.servers.databases import Databases
from tests.servers.migrations import check_migrations

ADMIN = Principal(kind=PrincipalKind.SERVICE, credential_id="admin")


@pytest.fixture
def room() -> str:
    return "access"


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def cases(database: Database, clock: MovableClock) -> UseCases:
    return use_cases(database=database, clock=clock)


async def _team(cases: UseCases, name: str = "one") -> Team:
    return await cases.teams.create(ADMIN, NewTeam(name=name))


async def _key(cases: UseCases, team: Team, *, name: str = "key", scopes: tuple[str, ...] = ()) -> CreatedCredential:
    wish = NewCredential(kind=CredentialKind.INTEGRATION, display_name=name, team=team.id, scopes=scopes)
    return await cases.credentials.create(ADMIN, wish)


async def _holder(cases: UseCases, team: Team, *scopes: str) -> Principal:
    return await cases.credentials.authenticate(_text(await _key(cases, team, scopes=scopes)))


def _text(created: CreatedCredential) -> str:
    assert created.secret is not None
    return created.secret.text


def test_migrations_go_up_and_down_and_leave_no_drift(databases: Databases) -> None:
    check_migrations(databases.empty("access"), "access", tables.metadata)


async def test_a_team_is_found_by_id_and_name(cases: UseCases) -> None:
    team = await _team(cases)
    assert await cases.teams.get(ADMIN, team.id) == team
    assert await cases.teams.get(ADMIN, "one") == team
    assert team.display_name == "one"


async def test_a_team_name_is_taken_once_however_many_ask(cases: UseCases) -> None:
    outcomes = await asyncio.gather(*(_team(cases) for _ in range(5)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AlreadyExists"] * 4 + ["Team"]


@pytest.mark.parametrize("name", ["", "A", "a--b", "-a", "a-", "a b", "ä", "a" * 64, "runs", "a\x00"])
async def test_a_bad_team_name_is_refused_with_every_violation(cases: UseCases, name: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await cases.teams.create(ADMIN, NewTeam(name=name, display_name="\x00", request_id="\n"))
    assert [violation.field for violation in refused.value.violations] == ["name", "display_name", "request_id"]


async def test_a_repeated_request_gives_the_first_team_and_another_is_refused(cases: UseCases) -> None:
    first, *others = await asyncio.gather(
        *(cases.teams.create(ADMIN, NewTeam(name="one", request_id="r1")) for _ in range(4))
    )
    assert others == [first] * 3
    with pytest.raises(AlreadyExists) as refused:
        await cases.teams.create(ADMIN, NewTeam(name="two", request_id="r1"))
    assert refused.value.reason == "REQUEST_ID_TAKEN"


async def test_another_teams_existence_cannot_be_told(cases: UseCases) -> None:
    one, two = await _team(cases, "one"), await _team(cases, "two")
    holder = await _holder(cases, one, "teams:read")
    assert await cases.teams.get(holder, "") == one
    refusals = []
    for reference in (two.id, "two", "three"):
        with pytest.raises(NotFound) as refused:
            await cases.teams.get(holder, reference)
        refusals.append((refused.value.reason, refused.value.message, refused.value.metadata))
    assert len(set(map(str, refusals))) == 1
    assert (await cases.teams.list(holder, page_size=0, page_token="")).rows == (one,)


async def test_teams_are_listed_page_by_page(cases: UseCases) -> None:
    made = [await _team(cases, f"t{number}") for number in range(5)]
    seen: list[Team] = []
    token = ""
    while True:
        page = await cases.teams.list(ADMIN, page_size=2, page_token=token)
        seen += page.rows
        token = page.next_page_token
        if not token:
            break
    assert seen == made


async def test_a_secret_is_recognised_and_stored_as_a_hash_only(cases: UseCases, database: Database) -> None:
    team = await _team(cases)
    created = await _key(cases, team)
    text = _text(created)
    assert text.startswith("sk-")
    assert len(text) > 60
    principal = await cases.credentials.authenticate(text)
    assert (principal.kind, principal.team_id, principal.team_name) == (PrincipalKind.INTEGRATION, team.id, "one")
    assert principal.scopes == TEAM_SCOPES
    rows = await database.read(lambda session: session.connection().execute(select(CredentialRow)).all())
    assert text.partition("_")[2] not in repr(rows)


@pytest.mark.parametrize("change", [lambda text: text[:-1] + "?", lambda text: "ak" + text[2:], lambda text: "sk-x_y"])
async def test_an_altered_secret_is_unknown(cases: UseCases, change: object) -> None:
    assert callable(change)
    text = _text(await _key(cases, await _team(cases)))
    for wrong in (change(text), "", "\x00", "sk-", "svc-x", text.upper()):
        with pytest.raises(Unauthenticated) as refused:
            await cases.credentials.authenticate(wrong)
        assert refused.value.reason == "CREDENTIAL_UNKNOWN"


async def test_an_expired_secret_is_refused(cases: UseCases, clock: MovableClock) -> None:
    team = await _team(cases)
    wish = NewCredential(
        kind=CredentialKind.INTEGRATION,
        display_name="short",
        team=team.id,
        expires_at=clock.now() + timedelta(minutes=1),
    )
    text = _text(await cases.credentials.create(ADMIN, wish))
    assert (await cases.credentials.authenticate(text)).expires_at == wish.expires_at
    clock.move(timedelta(minutes=1))
    with pytest.raises(Unauthenticated) as refused:
        await cases.credentials.authenticate(text)
    assert refused.value.reason == "CREDENTIAL_EXPIRED"


async def test_a_revoked_secret_is_refused_and_told_once(cases: UseCases, clock: MovableClock) -> None:
    created = await _key(cases, await _team(cases))
    first = await cases.credentials.revoke(ADMIN, created.credential.id, request_id="r")
    clock.move(timedelta(minutes=1))
    again = await cases.credentials.revoke(ADMIN, created.credential.id, request_id="r")
    assert first == again
    assert first.revoked_at is not None
    with pytest.raises(Unauthenticated) as refused:
        await cases.credentials.authenticate(_text(created))
    assert refused.value.reason == "CREDENTIAL_REVOKED"


async def test_another_teams_credential_cannot_be_revoked_or_seen(cases: UseCases) -> None:
    one, two = await _team(cases, "one"), await _team(cases, "two")
    holder = await _holder(cases, one, "credentials:write", "credentials:read")
    other = await _key(cases, two)
    with pytest.raises(NotFound):
        await cases.credentials.revoke(holder, other.credential.id, request_id=None)
    with pytest.raises(NotFound):
        await cases.credentials.list(holder, team="two", page_size=0, page_token="")
    await cases.credentials.authenticate(_text(other))
    mine = await cases.credentials.list(holder, team="", page_size=0, page_token="")
    assert [credential.team_id for credential in mine.rows] == [one.id]


async def test_a_token_of_another_teams_list_is_refused(cases: UseCases) -> None:
    one, two = await _team(cases, "one"), await _team(cases, "two")
    for number in range(3):
        await _key(cases, one, name=str(number))
    page = await cases.credentials.list(ADMIN, team=one.id, page_size=2, page_token="")
    assert [credential.display_name for credential in page.rows] == ["2", "1"]
    with pytest.raises(InvalidArgument):
        await cases.credentials.list(ADMIN, team=two.id, page_size=2, page_token=page.next_page_token)


async def test_nobody_grants_what_he_does_not_hold(cases: UseCases) -> None:
    team = await _team(cases)
    holder = await _holder(cases, team, "credentials:write", "runs:read")
    wish = NewCredential(kind=CredentialKind.INTEGRATION, display_name="k", scopes=["runs:read", "runs:write"])
    with pytest.raises(PermissionDenied) as refused:
        await cases.credentials.create(holder, wish)
    assert refused.value.metadata == {"scopes": "runs:write"}
    default = await cases.credentials.create(holder, NewCredential(kind=CredentialKind.INTEGRATION, display_name="k"))
    assert default.credential.scopes == {"credentials:write", "runs:read"}


async def test_a_teams_agent_may_only_synchronize(cases: UseCases) -> None:
    team = await _team(cases)
    holder = await _holder(cases, team, "credentials:write")
    created = await cases.credentials.create(holder, NewCredential(kind=CredentialKind.AGENT, display_name="d"))
    principal = await cases.credentials.authenticate(_text(created))
    assert (principal.kind, principal.team_id) == (PrincipalKind.AGENT, team.id)
    assert principal.scopes == {"queue:synchronize"}


async def test_only_an_administrator_makes_an_agent_of_the_installation(cases: UseCases) -> None:
    team = await _team(cases)
    holder = await _holder(cases, team, "credentials:write")
    wish = NewCredential(kind=CredentialKind.AGENT, display_name="d", fleet=True)
    with pytest.raises(PermissionDenied):
        await cases.credentials.create(holder, wish)
    created = await cases.credentials.create(ADMIN, wish)
    assert (await cases.credentials.authenticate(_text(created))).team_id is None


async def test_every_violation_of_a_credential_is_named(cases: UseCases, clock: MovableClock) -> None:
    wish = NewCredential(
        kind=None, display_name="", scopes=["runs:read", "x"], expires_at=clock.now(), team="t", fleet=True
    )
    with pytest.raises(InvalidArgument) as refused:
        await cases.credentials.create(ADMIN, wish)
    fields = [violation.field for violation in refused.value.violations]
    assert fields == ["kind", "display_name", "scopes[1]", "expire_time", "fleet", "team"]


async def test_a_repeated_credential_request_gives_the_record_without_the_secret(cases: UseCases) -> None:
    team = await _team(cases)
    wish = NewCredential(kind=CredentialKind.INTEGRATION, display_name="k", team=team.id, request_id="r")
    first = await cases.credentials.create(ADMIN, wish)
    again = await cases.credentials.create(ADMIN, wish)
    assert again.credential == first.credential
    assert again.secret is None


async def test_bootstrap_is_repeatable(cases: UseCases, tmp_path: Path) -> None:
    first = await bootstrap(teams=cases.teams, credentials=cases.credentials, state_dir=tmp_path / "state")
    again = await bootstrap(teams=cases.teams, credentials=cases.credentials, state_dir=tmp_path / "state")
    assert first == again
    assert first.first_key is not None
    principal = await cases.credentials.authenticate(first.first_key)
    assert principal.scopes == TEAM_SCOPES | {"installation:admin"}
    agent = await cases.credentials.authenticate(first.agent_secret)
    assert (agent.kind, agent.team_id) == (PrincipalKind.AGENT, None)
    for name in (KEY_FILE, AGENT_FILE):
        assert (tmp_path / "state" / name).stat().st_mode & 0o777 == 0o600


async def test_bootstrap_makes_the_credential_of_a_secret_that_is_only_on_file(cases: UseCases, tmp_path: Path) -> None:
    secret = new_secret("ak-")
    (tmp_path / AGENT_FILE).write_text(secret.text)
    keys = await bootstrap(teams=cases.teams, credentials=cases.credentials, state_dir=tmp_path)
    assert keys.agent_secret == secret.text
    assert (await cases.credentials.authenticate(secret.text)).kind is PrincipalKind.AGENT


async def test_a_revoked_first_key_is_not_made_again_but_a_dispatcher_key_is(cases: UseCases, tmp_path: Path) -> None:
    first = await bootstrap(teams=cases.teams, credentials=cases.credentials, state_dir=tmp_path)
    assert first.first_key is not None
    for secret in (first.first_key, first.agent_secret):
        credential_id = (await cases.credentials.authenticate(secret)).credential_id
        await cases.credentials.revoke(ADMIN, credential_id, request_id=None)
    again = await bootstrap(teams=cases.teams, credentials=cases.credentials, state_dir=tmp_path)
    assert again.first_key is None
    assert (await cases.credentials.authenticate(again.agent_secret)).kind is PrincipalKind.AGENT
