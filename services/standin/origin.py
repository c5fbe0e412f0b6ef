"""The origin rule: a web page of another host must not drive a server on this machine."""

import ipaddress
from urllib.parse import urlsplit


def is_foreign(host: str | None, origin: str | None) -> bool:
    """Whether a request is refused: Host is a loopback name, Origin is sent, and the two differ.

    Ports count only if both are given. `Origin: null` names no host and passes.
    """
    if host is None or origin is None:
        return False
    try:
        own, other = urlsplit(f"//{host.lower()}"), urlsplit(origin)
        own_port, other_port = own.port, other.port
    except ValueError:
        return False
    if own.hostname is None or other.hostname is None or not is_loopback(own.hostname):
        return False
    if own.hostname != other.hostname:
        return True
    return own_port is not None and other_port is not None and own_port != other_port


def is_loopback(name: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
