"""Which raw schemas are known, without a registry that works; the rest is in the integration tests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from schemas.contract import load_contract
from streams.clock import Deadline
from streams.raw_schemas import _PATIENCE_SECONDS, RawSchemas
from streams.registry import Registry
from streams.settings import RegistrySettings
from tests.support.progress import until


class Doorkeeper:
    """Listens, counts who knocks, and either hangs up at once or lets them wait for ever."""

    def __init__(self, *, hang_up: bool) -> None:
        self._hang_up = hang_up
        self.knocks = 0
        self._held: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                guest, _ = self._listener.accept()
            except OSError:
                return
            self.knocks += 1
            if self._hang_up:
                guest.close()
            else:
                self._held.append(guest)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for guest in self._held:
            guest.close()


class Clock:
    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[True, False], ids=["hangs up", "hangs"])
def door(request: pytest.FixtureRequest) -> Iterator[Doorkeeper]:
    door = Doorkeeper(hang_up=request.param)
    yield door
    door.close()


def schemas_at(port: int, clock: Clock, timeout: float = 0.1) -> RawSchemas:
    settings = RegistrySettings(url=f"http://127.0.0.1:{port}", timeout=timeout)
    return RawSchemas(Registry(settings), load_contract("ohlcv"), clock)


def settled(schemas: RawSchemas) -> None:
    """Wait until no question is under way."""
    until(lambda: not schemas._busy(), 30, "the end of the question")


def test_while_the_registry_is_down_an_id_is_not_known_and_not_refused(door: Doorkeeper, clock: Clock) -> None:
    assert schemas_at(door.port, clock)(7) is None


def test_an_id_is_asked_for_once_a_second_and_not_for_every_record(door: Doorkeeper, clock: Clock) -> None:
    schemas = schemas_at(door.port, clock)
    schemas(7)
    settled(schemas)
    once = door.knocks
    assert once > 0
    for _ in range(100):
        assert schemas(7) is None
    assert door.knocks == once
    clock.time += 1.1
    schemas(7)
    settled(schemas)
    assert door.knocks > once


def test_a_registry_that_hangs_holds_nobody_up(clock: Clock) -> None:
    door = Doorkeeper(hang_up=False)
    schemas = schemas_at(door.port, clock, timeout=30)
    if_half_of_them_waited = Deadline(50 * _PATIENCE_SECONDS)
    for _ in range(100):
        clock.time += 10
        assert schemas(7) is None
    assert not if_half_of_them_waited.passed()
    assert schemas._busy(), "somebody waited until the question was given up"
    door.close()
