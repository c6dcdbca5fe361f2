"""Ports on the loopback interface."""

from __future__ import annotations

import socket
from contextlib import ExitStack

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
    """Return that many different free ports."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [int(each.getsockname()[1]) for each in sockets]


def require_free(port: int, *, option: str) -> int:
    """Return `port` if it is free; raise StackError naming the option that asked for it if it is not."""
    if not is_free(port):
        raise StackError(
            f"Port {port} (from {option}) is in use by another process. "
            f"Choose another one, or leave {option} out to get a free one."
        )
    return port
