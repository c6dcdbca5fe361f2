"""Whether a part answers: a request it understands, not just an open port."""

from __future__ import annotations

import http.client
import socket
import struct

from operations.stack.ports import LOOPBACK
from operations.stack.settings import REGISTRY_API

__all__ = ["kafka_answers", "registry_answers"]

_METADATA_KEY = 3
_METADATA_VERSION = 1
_CORRELATION_ID = 1


def kafka_answers(port: int, timeout_s: float = 1.0) -> bool:
    """Return whether the broker answers a Metadata request (for no topics) and names itself as a broker.

    Written to the socket rather than asked of a client: a client takes longer to set up than the broker to
    answer, and reports every refused connection.
    """
    client = b"probe"
    header = struct.pack(">hhih", _METADATA_KEY, _METADATA_VERSION, _CORRELATION_ID, len(client)) + client
    request = header + struct.pack(">i", 0)
    try:
        with socket.create_connection((LOOPBACK, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as answer:
                head = answer.read(12)
    except OSError:
        return False
    if len(head) < 12:
        return False
    _length, correlation, brokers = struct.unpack(">iii", head)
    # Before the broker is unfenced the list is empty, and producers and admins would still be refused.
    return bool(correlation == _CORRELATION_ID and brokers > 0)


def registry_answers(port: int, timeout_s: float = 2.0) -> bool:
    """Return whether the registry lists its subjects, which it does only once its storage is read."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout_s)
    try:
        connection.request("GET", f"{REGISTRY_API}/subjects")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
