"""The file token: what one execution may read and write in the file room (EXECUTION A14).

An EdDSA JWT. The run room signs it with the private key of its settings; the file room verifies it offline with the
public ones, several at a time so that keys can be exchanged. The header's `kid` is the key's thumbprint.

| claim | meaning |
|---|---|
| `aud` | always `comfyfleet.file`: a token made for anything else is none |
| `fleet`, `team`, `run`, `attempt` | whose execution it is |
| `inputs` | ids that it may read: 16 bytes each, one after another, base64url. Absent: the files bound to the run |
| `max_bytes` | how many bytes of outputs the attempt may store in all |
| `exp` | the second at which it ends |
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

AUDIENCE = "comfyfleet.file"
ALGORITHM = "EdDSA"
LEEWAY = timedelta(seconds=30)
"""How far the clocks of the run room and the file room may be apart."""
MAX_LISTED_INPUTS = 100
"""Above this the token names no inputs and the file room looks at the bindings: gRPC metadata ends at 8 KiB."""

PublicKeys = Mapping[str, Ed25519PublicKey]
"""Keys by their `kid`."""


class InvalidGrant(ValueError):
    """The text is no token that these keys signed, or its time is over."""


@dataclass(frozen=True, kw_only=True)
class RunGrant:
    """What a file token says."""

    fleet_id: str
    team_id: str
    run_id: str
    attempt: int
    input_ids: frozenset[str] | None
    """Files that may be read; None: whatever is bound to the run."""
    max_bytes: int
    """Most bytes of outputs that this attempt may store in all."""
    expires_at: datetime


def encode_grant(grant: RunGrant, signer: str | Ed25519PrivateKey, kid: str | None = None) -> str:
    """The token of `grant`, signed with a key or its PEM; `kid` is the key's thumbprint where none is given."""
    key = private_key(signer) if isinstance(signer, str) else signer
    claims: dict[str, Any] = {
        "aud": AUDIENCE,
        "fleet": grant.fleet_id,
        "team": grant.team_id,
        "run": grant.run_id,
        "attempt": grant.attempt,
        "max_bytes": grant.max_bytes,
        "exp": int(grant.expires_at.timestamp()),
    }
    if grant.input_ids is not None and len(grant.input_ids) <= MAX_LISTED_INPUTS:
        claims["inputs"] = _pack(grant.input_ids)
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": kid or key_id(key.public_key())})


def decode_grant(token: str, public_keys: PublicKeys, *, now: datetime | None = None) -> RunGrant:
    """What `token` grants; InvalidGrant if none of the keys signed it or it ended more than LEEWAY ago."""
    try:
        key = public_keys[jwt.get_unverified_header(token).get("kid", "")]
        claims = jwt.decode(token, key, algorithms=[ALGORITHM], audience=AUDIENCE, options={"verify_exp": False})
        grant = _grant(claims)
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, OverflowError, binascii.Error) as error:
        raise InvalidGrant("This is no file token of this fleet.") from error
    if grant.expires_at + LEEWAY <= (now or datetime.now(UTC)):
        raise InvalidGrant("The file token has ended; the dispatcher gets a new one by its stream.")
    return grant


def public_keys(pems: Iterable[str]) -> PublicKeys:
    """Public keys, read from PEM texts, by their `kid`; ValueError where one is no Ed25519 key."""
    found: dict[str, Ed25519PublicKey] = {}
    for pem in pems:
        key = serialization.load_pem_public_key(pem.encode())
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("Grant keys are Ed25519 keys.")
        found[key_id(key)] = key
    return found


def key_id(key: Ed25519PublicKey) -> str:
    """The `kid` of a public key: the first half of the SHA-256 of its 32 bytes, in hex."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return sha256(raw).hexdigest()[:32]


def new_key_pair() -> tuple[str, str]:
    """A fresh private key and its public key, both as PEM."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), public_key_pem(private.decode())


def public_key_pem(private_key_pem: str) -> str:
    """The public key that belongs to a private one, as PEM."""
    public = private_key(private_key_pem).public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def private_key(pem: str) -> Ed25519PrivateKey:
    """A private key, read from its PEM text; ValueError where it is no Ed25519 key."""
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("Grant keys are Ed25519 keys.")
    return key


def _grant(claims: Mapping[str, Any]) -> RunGrant:
    packed = claims.get("inputs")
    return RunGrant(
        fleet_id=str(claims["fleet"]),
        team_id=str(claims["team"]),
        run_id=str(claims["run"]),
        attempt=int(claims["attempt"]),
        input_ids=None if packed is None else _unpack(packed),
        max_bytes=int(claims["max_bytes"]),
        expires_at=datetime.fromtimestamp(int(claims["exp"]), UTC),
    )


def _pack(ids: Iterable[str]) -> str:
    return base64.urlsafe_b64encode(b"".join(UUID(each).bytes for each in sorted(ids))).decode()


def _unpack(packed: str) -> frozenset[str]:
    raw = base64.urlsafe_b64decode(packed)
    return frozenset(str(UUID(bytes=raw[start : start + 16])) for start in range(0, len(raw), 16))
