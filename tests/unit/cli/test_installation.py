"""The state folder keeps secrets to its owner, and keeps them."""

import stat
from pathlib import Path

from services.cli.installation import load_or_make_secrets


def test_secrets_are_made_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    first = load_or_make_secrets(tmp_path / "state")
    assert load_or_make_secrets(tmp_path / "state") == first
    assert first.service_secret.startswith("svc-")
    mode = stat.S_IMODE((tmp_path / "state" / "secrets.json").stat().st_mode)
    assert mode == 0o600


def test_two_installations_share_nothing(tmp_path: Path) -> None:
    one, other = (load_or_make_secrets(tmp_path / name) for name in ("one", "other"))
    assert not set(vars(one).values()) & set(vars(other).values())
