"""The state folder of an installation on one machine, with the secrets its members share."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.common.ids import new_id


@dataclass(frozen=True, kw_only=True)
class InstallationSecrets:
    """What the members of an installation know and nobody else does."""

    fleet_id: str
    service_secret: str
    nats_token: str
    grant_private_key: str
    grant_public_key: str


def default_state() -> Path:
    """`COMFYFLEET_STATE_DIR`, else the user's state folder by the XDG rule."""
    given = os.environ.get("COMFYFLEET_STATE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "comfyfleet"


def load_or_make_secrets(state: Path) -> InstallationSecrets:
    """Reads the installation's secrets from its state folder, and makes them the first time.

    They are kept in one file that only its owner may read, written whole or not at all.
    """
    state.mkdir(parents=True, exist_ok=True)
    path = state / "secrets.json"
    if path.exists():
        return InstallationSecrets(**json.loads(path.read_text(encoding="utf-8")))
    made = _make_secrets()
    write_private(path, json.dumps(asdict(made), indent=2))
    return made


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read; it appears whole or not at all."""
    partial = path.with_suffix(path.suffix + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _make_secrets() -> InstallationSecrets:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return InstallationSecrets(
        fleet_id=new_id(),
        service_secret=f"svc-{secrets.token_urlsafe(32)}",
        nats_token=secrets.token_urlsafe(32),
        grant_private_key=private.decode("ascii"),
        grant_public_key=public.decode("ascii"),
    )
