"""A registry that is down, slow or broken: RegistryUnavailable, with the address and a remedy, in time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streams.errors import RegistryError, SettingsError
from streams.registry import Registry, RegistryUnavailable, canonical
from streams.settings import RegistrySettings

SCHEMA = {"type": "record", "name": "Bar", "fields": []}


@contextmanager
def answering(response: bytes | None) -> Iterator[str]:
    """Serve one fixed answer to every connection, or none at all: accept and stay silent."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                if response is None:
                    held.append(connection)
                    continue
                with connection:
                    connection.recv(65_536)
                    connection.sendall(response)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    for connection in held:
        connection.close()


def http(status: str, body: str, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n{body}".encode()


BROKEN = {
    "a server error": http("500 Oops", '{"error_code": 50001, "message": "store is down"}'),
    "a gateway that has no registry behind it": http("503 Unavailable", "<html>"),
    "truncated JSON": http("200 OK", '{"schema": "{\\"type\\": \\"rec'),
    "a body that ends early": http("200 OK", '{"schema":', length=1_000),
    "JSON of another kind": http("200 OK", "[1, 2]"),
    "an empty answer": http("200 OK", ""),
    "another protocol": b"SSH-2.0-OpenSSH_9.9\r\n",
}


@pytest.mark.parametrize("response", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_registry_is_unavailable_and_the_message_names_it(response: bytes) -> None:
    with answering(response) as url:
        registry = Registry(RegistrySettings(url=url, timeout=1))
        calls = (
            lambda: registry.schema_by_id(1),
            lambda: registry.latest("s"),
            lambda: registry.lookup("s", SCHEMA),
            lambda: registry.register("s", SCHEMA),
            lambda: registry.check_compatible("s", SCHEMA),
        )
        for call in calls:
            with pytest.raises(RegistryUnavailable, match=url) as caught:
                call()
            assert "seamless.registry.url" in str(caught.value)


def test_a_refused_connection_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(RegistryUnavailable, match="cannot be reached"):
        Registry(RegistrySettings(url=f"http://127.0.0.1:{port}", timeout=1)).subjects()


def test_a_silent_registry_does_not_block_for_ever() -> None:
    with answering(None) as url:
        began = time.monotonic()
        with pytest.raises(RegistryUnavailable, match="did not answer in time"):
            Registry(RegistrySettings(url=url, timeout=0.2)).schema_by_id(1)
        assert time.monotonic() - began < 3 * 0.2 + 2


@pytest.mark.parametrize(
    ("response", "remedy"),
    [
        (
            http("401 Unauthorized", '{"error_code": 40101, "message": "who are you"}'),
            r"seamless\.registry\.user",
        ),
        (http("404 Not Found", "<html>"), "root of the registry's Confluent API"),
    ],
)
def test_a_considered_no_is_an_error_with_a_remedy_and_no_outage(response: bytes, remedy: str) -> None:
    with answering(response) as url, pytest.raises(RegistryError, match=remedy) as caught:
        Registry(RegistrySettings(url=url, timeout=1)).subjects()
    assert not isinstance(caught.value, RegistryUnavailable)


def test_a_missing_certificate_file_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ca_path"):
        Registry(RegistrySettings(url="https://localhost:1", ca_path=str(tmp_path / "gone.pem")))


def test_credentials_are_sent_and_never_shown() -> None:
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                seen.append(connection.recv(65_536))
                connection.sendall(http("403 Forbidden", '{"error_code": 40301, "message": "no"}'))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        settings = RegistrySettings.model_validate(
            {"url": f"http://127.0.0.1:{server.getsockname()[1]}", "bearer_token": "hunter2", "timeout": 2}
        )
        with pytest.raises(RegistryError) as caught:
            Registry(settings).subjects()
        thread.join(5)
    assert b"Bearer hunter2" in seen[0]
    assert "hunter2" not in str(caught.value)


def test_canonical_json_keeps_names_in_order_and_custom_attributes() -> None:
    schema = {
        "type": "record",
        "name": "B",
        "fields": [{"name": "p", "type": "double", "seamless": {"min": 0}}],
    }
    assert canonical(schema) == (
        '{"type":"record","name":"B","fields":[{"name":"p","type":"double","seamless":{"min":0}}]}'
    )


def test_a_thread_that_asks_on_after_the_end_is_told_so() -> None:
    registry = Registry(RegistrySettings(url="http://127.0.0.1:1"))
    registry.close()
    with pytest.raises(RegistryUnavailable, match="the client was closed"):
        registry.versions("bars-value")
