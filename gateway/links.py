"""Absolute links: under the configured address, else under the one by which the request came."""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import quote

_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


class Links:
    """Makes the start of links. `X-Forwarded-*` count only from the listed proxies."""

    def __init__(self, *, public_url: str | None, trusted_proxies: Sequence[str], default_authority: str) -> None:
        self._public_url = public_url.rstrip("/") if public_url else None
        self._proxies = [_network(text) for text in trusted_proxies]
        self._default_authority = default_authority

    def base(self, scope: Any) -> str:
        """`https://fleet.example` for one request, without a final slash."""
        if self._public_url is not None:
            return self._public_url
        headers: dict[bytes, bytes] = dict(scope["headers"])
        authority, scheme = headers.get(b"host", b"").decode("latin-1"), scope["scheme"]
        if self._trusts(scope["client"]):
            authority = _first(headers.get(b"x-forwarded-host")) or authority
            scheme = _first(headers.get(b"x-forwarded-proto")) or scheme
        if not _AUTHORITY.fullmatch(authority):
            authority = self._default_authority
        return f"{scheme if scheme in ('http', 'https') else 'http'}://{authority}"

    def _trusts(self, client: Any) -> bool:
        if not self._proxies or client is None:
            return False
        try:
            address = ip_address(client[0])
        except ValueError:
            return False
        return any(address in network for network in self._proxies)


def file_url(base: str, file_id: str) -> str:
    """Where the bytes of a file are."""
    return f"{base}/v1/files/{quote(file_id, safe='')}/content"


def run_url(base: str, run_id: str) -> str:
    """Where a run is."""
    return f"{base}/v1/runs/{quote(run_id, safe='')}"


def page_link(base: str, path: str, query: Iterable[tuple[str, str]], token: str) -> str:
    """The `Link` header of a next page: the same query with another token."""
    kept = [(key, value) for key, value in query if key != "page_token"]
    pairs = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in [*kept, ("page_token", token)])
    return f'<{base}{quote(path, safe="/:@")}?{pairs}>; rel="next"'


def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text, strict=False)


def _first(value: bytes | None) -> str | None:
    return value.decode("latin-1").split(",")[0].strip() if value else None
