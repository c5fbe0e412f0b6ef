"""The file token: signed by one key, read by many, for one execution and a short time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from services.common.grant import (
    LEEWAY,
    MAX_LISTED_INPUTS,
    InvalidGrant,
    RunGrant,
    decode_grant,
    encode_grant,
    new_key_pair,
    public_keys,
)
from services.common.ids import new_id

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
GRANT = RunGrant(
    fleet_id="fleet-1",
    team_id=new_id(),
    run_id=new_id(),
    attempt=2,
    input_ids=frozenset({new_id(), new_id()}),
    max_bytes=2**40,
    expires_at=NOW + timedelta(minutes=5),
)


def test_a_grant_survives_the_journey() -> None:
    private, public = new_key_pair()
    assert decode_grant(encode_grant(GRANT, private), public_keys([public]), now=NOW) == GRANT


def test_no_inputs_are_not_all_inputs() -> None:
    private, public = new_key_pair()
    none = replace(GRANT, input_ids=frozenset())
    assert decode_grant(encode_grant(none, private), public_keys([public]), now=NOW).input_ids == frozenset()


def test_many_inputs_are_left_to_the_bindings_and_the_token_stays_small() -> None:
    private, public = new_key_pair()
    full = replace(GRANT, input_ids=frozenset(new_id() for _ in range(MAX_LISTED_INPUTS)))
    token = encode_grant(full, private)
    assert decode_grant(token, public_keys([public]), now=NOW) == full
    assert len(token) < 4096
    more = replace(GRANT, input_ids=frozenset(new_id() for _ in range(MAX_LISTED_INPUTS + 1)))
    assert decode_grant(encode_grant(more, private), public_keys([public]), now=NOW).input_ids is None


def test_the_right_key_is_found_among_several() -> None:
    old_private, old_public = new_key_pair()
    private, public = new_key_pair()
    keys = public_keys([old_public, public])
    assert decode_grant(encode_grant(GRANT, private), keys, now=NOW) == GRANT
    assert decode_grant(encode_grant(GRANT, old_private), keys, now=NOW) == GRANT


def test_another_key_is_refused_even_under_a_known_kid() -> None:
    private, _ = new_key_pair()
    _, public = new_key_pair()
    keys = public_keys([public])
    for kid in (None, *keys):
        with pytest.raises(InvalidGrant):
            decode_grant(encode_grant(GRANT, private, kid), keys, now=NOW)


def test_a_token_ends_after_its_time_and_the_leeway() -> None:
    private, public = new_key_pair()
    token, keys = encode_grant(GRANT, private), public_keys([public])
    decode_grant(token, keys, now=GRANT.expires_at + LEEWAY - timedelta(seconds=1))
    with pytest.raises(InvalidGrant, match="ended"):
        decode_grant(token, keys, now=GRANT.expires_at + LEEWAY)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "ak-123", "e30.e30.e30", "\u00e9.\u00e9.\u00e9"])
def test_other_texts_are_no_tokens(text: str) -> None:
    _, public = new_key_pair()
    with pytest.raises(InvalidGrant):
        decode_grant(text, public_keys([public]), now=NOW)


def test_a_token_for_another_audience_or_without_claims_is_refused() -> None:
    private, public = new_key_pair()
    keys = public_keys([public])
    kid = next(iter(keys))
    claims = jwt.decode(encode_grant(GRANT, private), options={"verify_signature": False})
    for wrong in (
        {**claims, "aud": "other"},
        {"aud": claims["aud"]},
        {**claims, "attempt": "x"},
        {**claims, "inputs": "AAA="},
    ):
        token = jwt.encode(wrong, private, algorithm="EdDSA", headers={"kid": kid})
        with pytest.raises(InvalidGrant):
            decode_grant(token, keys, now=NOW)


def test_an_unsigned_token_is_refused() -> None:
    private, public = new_key_pair()
    claims = jwt.decode(encode_grant(GRANT, private), options={"verify_signature": False})
    keys = public_keys([public])
    token = jwt.encode(claims, key="", algorithm="none", headers={"kid": next(iter(keys))})
    with pytest.raises(InvalidGrant):
        decode_grant(token, keys, now=NOW)
