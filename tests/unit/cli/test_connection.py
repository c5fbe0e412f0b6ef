"""Where a command goes, and with which key."""

from pathlib import Path

import pytest

from services.cli.connection import Connection, find_connection, write_connection

HERE = Connection(url="http://127.0.0.1:8080", grpc="127.0.0.1:8081", key="sk-here")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that was started on this machine, and no word about any other."""
    for name in ("COMFYFLEET_URL", "COMFYFLEET_GRPC", "COMFYFLEET_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COMFYFLEET_STATE_DIR", str(tmp_path))
    write_connection(tmp_path, HERE)


def test_installation_of_this_machine_is_found_by_itself() -> None:
    assert find_connection() == HERE


def test_key_of_this_machine_is_not_sent_to_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYFLEET_GRPC", "elsewhere:8081")
    assert find_connection().key is None


def test_given_key_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYFLEET_GRPC", "elsewhere:8081")
    monkeypatch.setenv("COMFYFLEET_KEY", "sk-elsewhere")
    assert find_connection().key == "sk-elsewhere"
