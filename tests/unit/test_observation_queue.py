"""Observations on their way out: whoever tells one never waits and never fails, whatever becomes of it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from streams.metrics import Metrics
from streams.provider.observation_queue import DROP_REASONS, ObservationQueue, Sink
from streams.provider.observation_writer import ObservationWriter
from streams.provider.observations import Observation
from streams.settings import KafkaSettings, RegistrySettings, Settings
from tests.support.waiting import Hanging, eventually, mute_server

TOLD = Observation(
    world="paper",
    dataset="bars",
    consumer="alpha",
    phase="storage_wait",
    interval="1d",
    lane="live",
    outcome="ok",
    elapsed_seconds=0.5,
    budget_seconds=5.0,
    at=datetime(2026, 1, 2, 12, tzinfo=UTC),
    fetch_id="f1",
)


class Place:
    """Sinks as a test wants them, and all that they were sent."""

    def __init__(self) -> None:
        self.sent: list[Observation] = []
        self.dropped: Counter[str] = Counter()
        self.opened = self.closed = 0
        self.refuse: list[Exception] = []
        self.before_open: Callable[[], object] = lambda: None
        self.before_send: Callable[[], object] = lambda: None
        self.time = 0.0

    def queue(self, **arguments: Any) -> ObservationQueue:
        return ObservationQueue(self.open, self.drop, now=lambda: self.time, **arguments)

    def open(self, undelivered: Callable[[int], None]) -> Sink:
        self.opened += 1
        self.before_open()
        if self.refuse:
            raise self.refuse.pop(0)
        return ListSink(self)

    def drop(self, reason: str, count: int) -> None:
        assert reason in DROP_REASONS
        self.dropped[reason] += count


class ListSink:
    def __init__(self, place: Place) -> None:
        self._place = place
        self.waiting = 0

    def send(self, told: Observation) -> None:
        self._place.before_send()
        self._place.sent.append(told)

    def poll(self, seconds: float) -> None:
        pass

    def close(self, seconds: float) -> None:
        self._place.closed += 1


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    with Hanging() as call:
        yield call


def numbered(count: int) -> list[Observation]:
    return [replace(TOLD, fetch_id=str(n)) for n in range(count)]


def test_what_is_written_arrives_in_order_and_before_the_close(place: Place) -> None:
    queue = place.queue()
    for told in numbered(500):
        queue.write(told)
    queue.close(20)
    assert place.sent == numbered(500)
    assert (place.opened, place.closed, place.dropped) == (1, 1, Counter())


def test_where_nothing_is_written_nothing_is_opened(place: Place) -> None:
    before = threading.active_count()
    queue = place.queue()
    assert threading.active_count() == before
    queue.close(20)
    assert (place.opened, place.dropped) == (0, Counter())


def test_writing_returns_while_the_opening_hangs_and_what_does_not_fit_is_counted(
    place: Place, hanging: Hanging
) -> None:
    place.before_open = hanging
    queue = place.queue(most=10)
    for told in numbered(25):
        queue.write(told)  # would never end if it waited for the sink
    assert place.dropped == {"queue_full": 15}
    assert queue.waiting == 10
    hanging.release()
    assert eventually(lambda: place.sent == numbered(10))
    queue.close(20)


def test_writing_returns_while_the_sending_hangs(place: Place, hanging: Hanging) -> None:
    place.before_send = hanging
    queue = place.queue(most=10)
    for told in numbered(25):
        queue.write(told)
    assert place.dropped["queue_full"] >= 14
    hanging.release()
    queue.close(20)
    assert len(place.sent) + place.dropped["queue_full"] == 25


def test_closing_ends_in_time_while_the_sink_hangs_and_counts_what_is_left(place: Place, hanging: Hanging) -> None:
    place.before_open = hanging
    queue = place.queue()
    for told in numbered(5):
        queue.write(told)
    queue.close(0.05)
    assert place.dropped == {"closed": 5}
    assert queue.waiting == 0


def test_after_the_close_nothing_is_taken_and_a_second_close_does_nothing(place: Place) -> None:
    queue = place.queue()
    queue.close(1)
    queue.write(TOLD)
    queue.close(1)
    assert place.dropped == {"closed": 1}
    assert place.opened == 0


def test_what_could_not_be_opened_is_opened_again_and_nothing_is_lost(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.provider.observation_queue._PAUSES_S", (0.001, 0.001))
    place.refuse = [LookupError("the registry is away"), LookupError("the registry is away")]
    queue = place.queue()
    for told in numbered(3):
        queue.write(told)
    assert eventually(lambda: place.sent == numbered(3))
    assert (place.opened, place.dropped) == (3, Counter())
    queue.close(20)


def test_a_sink_that_breaks_is_opened_again_and_costs_the_one_that_it_broke_at(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.provider.observation_queue._PAUSES_S", (0.001, 0.001))
    breaks = iter([True, False, False])

    def maybe() -> None:
        if next(breaks):
            raise LookupError("a fatal error")

    place.before_send = maybe
    queue = place.queue()
    for told in numbered(3):
        queue.write(told)
    assert eventually(lambda: len(place.sent) == 2)
    queue.close(20)
    assert place.dropped == {"undelivered": 1}
    assert (place.opened, place.closed) == (2, 2)


def test_closing_ends_the_pause_before_another_try(place: Place) -> None:
    place.refuse = [LookupError("the registry is away")] * 9
    queue = place.queue()
    queue.write(TOLD)
    assert eventually(lambda: place.opened == 1)
    queue.close(20)
    assert place.dropped == {"closed": 1}


@pytest.fixture
def everything_is_logged() -> Iterator[None]:
    """Other tests of the same process may have left the log at a level of theirs."""
    before = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("everything_is_logged")
def test_what_is_dropped_is_logged_once_a_minute_with_the_numbers(place: Place) -> None:
    queue = place.queue(most=0)
    with structlog.testing.capture_logs() as logged:
        for _ in range(5):
            queue.write(TOLD)
        place.time += 59.0
        queue.write(TOLD)
        place.time += 1.0
        queue.write(TOLD)
        queue.write(TOLD)
        queue.close(1)
    told = [entry for entry in logged if entry["event"] == "sla_observations_dropped"]
    assert [entry["queue_full"] for entry in told] == [1, 6, 1]


def test_a_system_without_threads_fails_nobody(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    queue = place.queue()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        queue.write(TOLD)
    queue.write(TOLD)
    queue.close(20)
    assert place.sent == [TOLD, TOLD]


def test_a_registry_and_a_broker_that_never_answer_keep_no_writer_waiting() -> None:
    metrics = Metrics("paper")
    with mute_server() as port:
        settings = Settings(
            world="paper",
            kafka=KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}"),
            registry=RegistrySettings(url=f"http://127.0.0.1:{port}", timeout=1),
        )
        writer = ObservationWriter(settings, metrics)
        for told in numbered(10_010):
            writer.write(told)
        writer.close(0.05)
    text = metrics.render().decode()
    assert 'seamless_sla_observations_dropped_total{reason="closed",world_id="paper"} 10000.0' in text
    assert 'seamless_sla_observations_dropped_total{reason="queue_full",world_id="paper"} 10.0' in text
