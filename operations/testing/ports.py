"""Ports of services that a test starts, and waiting until they answer."""

from __future__ import annotations

import socket
from time import sleep

import httpx

from operations.testing.processes import Process
from streams.clock import Deadline

__all__ = ["await_answer", "free_port"]

_LOOK_AGAIN = 0.1


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


def await_answer(url: str, seconds: float, process: Process) -> None:
    """Return when an address answers with success.

    Raises:
        AssertionError: with what the process said, if it ended or the seconds are over.
    """
    deadline = Deadline(seconds)
    while not deadline.passed() and process.alive():
        try:
            if httpx.get(url, timeout=1.0, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass  # not yet
        sleep(_LOOK_AGAIN)
    raise AssertionError(f"{url} does not answer:\n{process.output()}")
