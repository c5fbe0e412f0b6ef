"""File tokens at the file room's door: verified once, and remembered until they end."""

from datetime import timedelta

import pytest

from services.common.errors import Unauthenticated
from services.common.grant import LEEWAY, RunGrant, encode_grant, new_key_pair
from services.common.ids import new_id
from services.common.rpc.principal import Principal
from services.file.servicer.file_tokens import MOST_KNOWN, FileTokens
from tests.servers.clock import MovableClock

LIFE = timedelta(minutes=5)
PRIVATE, PUBLIC = new_key_pair()


def token(clock: MovableClock, *, attempt: int = 1, life: timedelta = LIFE) -> str:
    grant = RunGrant(
        fleet_id="fleet-1",
        team_id="t1",
        run_id=new_id(),
        attempt=attempt,
        input_ids=None,
        max_bytes=1,
        expires_at=clock.now() + life,
    )
    return encode_grant(grant, PRIVATE)


def tokens(clock: MovableClock) -> FileTokens:
    return FileTokens(fleet_id="fleet-1", public_key_pems=[PUBLIC], clock=clock)


async def principal(known: FileTokens, text: str) -> Principal:
    found = await known.authenticate(text)
    assert found is not None
    return found


async def test_a_remembered_token_still_ends() -> None:
    clock = MovableClock()
    known, text = tokens(clock), token(clock)
    first = await principal(known, text)
    assert await principal(known, text) is first
    clock.move(LIFE + LEEWAY)
    with pytest.raises(Unauthenticated):
        await known.authenticate(text)


async def test_a_changed_token_is_not_taken_for_the_remembered_one() -> None:
    clock = MovableClock()
    known, text = tokens(clock), token(clock)
    await principal(known, text)
    head, body, _signature = text.split(".")
    with pytest.raises(Unauthenticated):
        await known.authenticate(".".join((head, body, token(clock).split(".")[2])))


async def test_what_is_remembered_is_bounded_and_the_token_in_use_stays() -> None:
    clock = MovableClock()
    known, used, unused = tokens(clock), token(clock), token(clock)
    kept, dropped = await principal(known, used), await principal(known, unused)
    for _ in range(MOST_KNOWN - 1):
        assert await principal(known, used) is kept
        await principal(known, token(clock))
    assert await principal(known, used) is kept
    assert await principal(known, unused) is not dropped


async def test_another_sort_of_secret_is_left_to_others() -> None:
    assert await tokens(MovableClock()).authenticate("sk-0123456789abcdef_x") is None
