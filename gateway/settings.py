"""What the porch needs to know; the process's settings have these fields among others."""

from collections.abc import Sequence
from typing import Protocol


class GatewaySettings(Protocol):
    """Settings of the gateway."""

    @property
    def http_listen(self) -> str:
        """`host:port` of the REST listener; port 0 for a free one."""
        ...

    @property
    def grpc_listen(self) -> str:
        """`host:port` of the public gRPC listener; port 0 for a free one."""
        ...

    @property
    def public_url(self) -> str | None:
        """Where callers reach the REST listener, for absolute links. None: scheme and Host of each request."""
        ...

    @property
    def trusted_proxies(self) -> Sequence[str]:
        """Networks whose `X-Forwarded-*` headers are believed."""
        ...

    @property
    def max_file_bytes(self) -> int:
        """Largest upload that is worth reading."""
        ...

    @property
    def reflection(self) -> bool:
        """Whether the public gRPC listener describes its services."""
        ...

    @property
    def registry_address(self) -> str:
        """`host:port` of the registry room."""
        ...

    @property
    def access_address(self) -> str:
        """`host:port` of the access room."""
        ...

    @property
    def run_address(self) -> str:
        """`host:port` of the run room."""
        ...

    @property
    def file_address(self) -> str:
        """`host:port` of the file room."""
        ...
