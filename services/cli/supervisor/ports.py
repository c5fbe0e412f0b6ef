"""Picks free ports on loopback."""

import contextlib
import socket


def free_ports(count: int, *, host: str = "127.0.0.1") -> list[int]:
    """Returns `count` different ports that nobody listens on now.

    All are bound at once and released together, so that none is given twice. Between this call and a child's own bind
    another program might take one; the child then fails to start and the supervisor says so.
    """
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(count):
            probe = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.bind((host, 0))
            ports.append(int(probe.getsockname()[1]))
        return ports


def is_free(port: int, *, host: str = "127.0.0.1") -> bool:
    """Says whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
