"""Everything that can be set, for every member: `COMFYFLEET_…` variables, one instance per process.

Lists are JSON (`["a", "b"]`), durations seconds or ISO 8601 (`PT30S`), sizes bytes.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url

Secret = Annotated[str | None, Field(repr=False)]
Secrets = Annotated[list[str], Field(repr=False)]


class Settings(BaseSettings):
    """One process's settings. A member reads its own fields and those of the first groups."""

    model_config = SettingsConfigDict(env_prefix="COMFYFLEET_", use_attribute_docstrings=True, frozen=True)

    # The process
    state_dir: Path = Path("state")
    """Folder for everything that lasts on this machine: SQLite files, blobs, the first keys."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    listen: str = "127.0.0.1:9090"
    """`host:port` of the gRPC server that carries this process's rooms."""
    reflection: bool = True
    """Whether gRPC servers describe their services."""

    # The installation
    fleet_id: str = "comfyfleet"
    """Name of the installation: prompts found in a backend are ours if they carry it."""
    database_url: str | None = None
    """PostgreSQL for all rooms, a schema each: `postgresql://user:password@host/name`. None: SQLite in `state_dir`."""
    nats_url: str = "nats://127.0.0.1:4222"
    """Where the event bus is. Members start without it and find it later."""
    nats_token: Secret = None
    """Token of the event bus. None: it asks for none, or the URL has it."""
    service_secrets: Secrets = []
    """`svc-…`, by which rooms know one another: the first is sent, all are accepted."""
    grant_private_key: Secret = None
    """PEM of the Ed25519 key with which the run room signs file tokens."""
    grant_public_keys: list[str] = []
    """PEM of the keys whose file tokens the file room takes."""

    # Where the rooms are
    access_address: str = "127.0.0.1:9090"
    """`host:port` of the access room."""
    registry_address: str = "127.0.0.1:9090"
    """`host:port` of the registry room."""
    run_address: str = "127.0.0.1:9090"
    """`host:port` of the run room."""
    file_address: str = "127.0.0.1:9090"
    """`host:port` of the file room."""

    # gateway
    http_listen: str = "127.0.0.1:8080"
    """`host:port` of REST; port 0 for a free one."""
    grpc_listen: str = "127.0.0.1:8081"
    """`host:port` of the one public gRPC address; port 0 for a free one."""
    public_url: str | None = None
    """Where callers reach REST, for absolute links. None: scheme and Host of each request."""
    trusted_proxies: list[str] = []
    """Networks whose `X-Forwarded-*` headers are believed."""

    # run
    lease: timedelta = timedelta(seconds=30)
    """How long a runner stays its dispatcher's without a word from it."""
    queue_ttl: timedelta = timedelta(hours=24)
    """How long a run waits that does not say."""
    timeout: timedelta = timedelta(hours=1)
    """How long a run executes that does not say."""
    max_attempts: int = 3
    """How often a run is tried that does not say."""

    # file
    max_file_bytes: int = 6 * 1024**3
    """Largest file that is stored."""
    provisional_ttl: timedelta = timedelta(minutes=15)
    """How long a provisional file lives that no run has bound."""

    # dispatcher
    dispatcher_listen: str = "127.0.0.1:0"
    """`host:port` of the dispatcher's own door; loopback only."""
    dispatcher_id: str | None = None
    """Stable name of this dispatcher. None: made once and kept in `state_dir`."""
    agent_secret: Secret = None
    """`ak-…` with which the dispatcher synchronizes."""
    comfyui_urls: list[str] = []
    """Backends that it drives."""
    runner_tags: list[str] = []
    """Tags of its runners."""
    runner_region: str = ""
    """Region of its runners."""
    runner_community: bool = False
    """Whether its team lends its runners to runs that ask for the pool `community`."""

    # stand-in backend
    standin_listen: str = "127.0.0.1:8188"
    """`host:port` of the stand-in backend."""

    def database_url_of(self, room: str) -> str:
        """The database of `room`: its schema's server, or its own SQLite file."""
        if self.database_url is not None:
            return self.database_url
        return URL.create("sqlite", database=str(self.folder_of(room).absolute() / f"{room}.db")).render_as_string()

    def folder_of(self, room: str) -> Path:
        """The room's folder in the state directory."""
        return self.state_dir / room

    @property
    def nats_server(self) -> str:
        """`nats_url` with the token in it, as the client takes it."""
        url = make_url(self.nats_url)
        if self.nats_token is not None:
            url = url.set(username=self.nats_token, password=None)
        return url.render_as_string(hide_password=False)

    @property
    def service_secret(self) -> str:
        """The service credential to send; ValueError where none is set."""
        if not self.service_secrets:
            raise ValueError("Set COMFYFLEET_SERVICE_SECRETS, the same for every member.")
        return self.service_secrets[0]
