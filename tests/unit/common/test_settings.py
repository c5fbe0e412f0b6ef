"""Settings come from the environment and point every room at its rows."""

from datetime import timedelta
from pathlib import Path

import pytest

from services.common.settings import Settings


def test_the_environment_sets_fields_lists_and_durations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYFLEET_SERVICE_SECRETS", '["svc-new", "svc-old"]')
    monkeypatch.setenv("COMFYFLEET_LEASE", "PT45S")
    settings = Settings()
    assert settings.service_secret == "svc-new"
    assert settings.lease == timedelta(seconds=45)


def test_every_field_is_documented() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_secrets_are_not_shown() -> None:
    settings = Settings(service_secrets=["svc-hidden"], agent_secret="ak-hidden", grant_private_key="hidden")
    assert "hidden" not in repr(settings)


def test_each_room_has_a_file_of_its_own_unless_there_is_a_server() -> None:
    settings = Settings(state_dir=Path("/state"))
    assert settings.database_url_of("run") == "sqlite:////state/run/run.db"
    settings = Settings(database_url="postgresql://u:p@h/d")
    assert settings.database_url_of("run") == "postgresql://u:p@h/d"


def test_the_token_joins_the_address_of_the_event_bus() -> None:
    assert Settings(nats_url="nats://h:1", nats_token="t").nats_server == "nats://t@h:1"
    assert Settings(nats_url="nats://h:1").nats_server == "nats://h:1"
