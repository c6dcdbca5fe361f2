"""Ports on the loopback interface."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

from streams.errors import StackError

__all__ = ["LOOPBACK", "free_ports", "is_free", "require_free"]

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Return whether a server could listen on `port` now; another process may take it a moment later."""
    with socket.socket() as probe:
        # As the JVM does: connections of a server that has ended, in TIME_WAIT, do not keep the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return that many different free ports, none of which the system gives to outgoing connections.

    A broker that is away for a moment would otherwise find its port taken when it comes back, and a client that
    keeps trying a port of that range may even connect to itself (TCP's simultaneous open).

    Raise StackError if there are not enough.
    """
    candidates = random.SystemRandom().sample(_SERVERS, len(_SERVERS))
    with ExitStack() as held:
        found: list[int] = []
        for port in candidates:
            if len(found) == count:
                break
            probe = held.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind((LOOPBACK, port))
                found.append(port)
    if len(found) < count:
        raise StackError(f"No {count} free ports between {_SERVERS[0]} and {_SERVERS[-1]}: end what holds them.")
    return found


def _server_ports(settings: Path = Path("/proc/sys/net/ipv4/ip_local_port_range")) -> range:
    """Return the ports above the well-known ones that outgoing connections do not get (RFC 6335, section 6)."""
    try:
        first_outgoing = int(settings.read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        first_outgoing = 32768
    below = range(10_000, min(first_outgoing, 32768))
    return below if len(below) > 1000 else range(10_000, 60_000)


_SERVERS = _server_ports()


def require_free(port: int, *, option: str) -> int:
    """Return `port` if it is free; raise StackError naming the option that asked for it if it is not."""
    if not is_free(port):
        raise StackError(
            f"Port {port} (from {option}) is in use by another process. "
            f"Choose another one, or leave {option} out to get a free one."
        )
    return port
