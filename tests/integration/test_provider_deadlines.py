"""The table of deadlines: each part that a fetch waits for made to hang, under each policy.

The broker is suspended, so this module has a stack of its own. The archive hangs as a file of its log is a pipe that
nobody writes to; the coordinator accepts connections and answers nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from coordinator.local import LocalBackfillCoordinator
from coordinator.protocol import CoordinatorUnavailable
from operations.stack import EmbeddedStack
from operations.testing.faults import Fault, FaultInjection
from operations.testing.proxy import Proxy
from streams import Provider, SeamlessSLAExceeded
from streams.archive.table import DatasetTable
from streams.clock import monotonic
from streams.errors import ArchiveUnavailable, BrokerError
from streams.provider.result import FetchResult
from streams.settings import Settings
from tests.support.archiving import Writer, archive_all, bars
from tests.support.normalizing import value_of
from tests.support.providing import changed, make_provider_world
from tests.support.serving import serving
from tests.support.working import minute, source_of_bars, working
from tests.support.worlds import DATASET, World

pytestmark = pytest.mark.kafka

PARTS = ("archive", "coordinator", "broker")
PHASES = {"archive": "storage_wait", "coordinator": "backfill_wait", "broker": "live_wait"}
LIMITS = {"archive": "max_wait_storage", "coordinator": "max_wait_backfill", "broker": "max_wait_live"}
BUDGET, LATE = 0.5, 0.1
LONG = {"max_wait_storage": 60, "max_wait_backfill": 60, "max_wait_live": 60, "total_deadline": 120, "min_coverage": 0}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tmp_path_factory.mktemp("own"), die_with_parent=True) as stack:
        yield stack


@dataclass
class Given:
    """A world with ten minutes in the archive, ten more in Kafka and twenty in all at its source."""

    world: World
    settings: Settings
    until: int
    hang: Callable[[], Fault]

    def provider(self) -> Provider:
        return Provider(self.settings, observe=False)

    def fetch(self, provider: Provider, **policy: Any) -> FetchResult:
        return provider.fetch(DATASET, "AAA", minute(0), minute(self.until), sla=policy)


@pytest.fixture(params=PARTS)
def part(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def given(own: EmbeddedStack, world: str, tmp_path: Path, part: str) -> Iterator[Given]:
    with ExitStack() as ending:
        made = make_provider_world(own, world, tmp_path, source=source_of_bars(tmp_path, ["AAA"], 30))
        ending.callback(made.registry.close)
        writer = Writer(made)
        ending.callback(writer.close)
        writer.live(bars(["AAA"], range(10)))
        archive_all(made)
        writer.live(bars(["AAA"], range(10, 20)))
        if part == "archive":
            yield Given(made, made.settings, 10, lambda: archive_hangs(made))
        elif part == "broker":
            faults = FaultInjection(own, tmp_path)
            dataset = made.settings.datasets[DATASET].model_copy(update={"source": None})
            settings = changed(made.settings, datasets={DATASET: dataset.model_dump()})
            yield Given(made, settings, 30, faults.broker_paused)
        else:
            coordinator = LocalBackfillCoordinator(made.settings)
            ending.callback(coordinator.close)
            service = ending.enter_context(serving(coordinator, made.settings))
            proxy = ending.enter_context(Proxy("127.0.0.1", int(service.url.rsplit(":", 1)[1])))
            settings = changed(made.settings, coordinator_url=proxy.url)
            yield Given(made, settings, 30, lambda: proxy_hangs(proxy))


def archive_hangs(world: World) -> Fault:
    pipe = Path(DatasetTable(world.settings, DATASET).url) / "_delta_log" / "_last_checkpoint"
    assert not pipe.exists()
    os.mkfifo(pipe)

    def mend() -> None:
        try:
            writing = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads
            writing = None
        pipe.unlink()
        if writing is not None:
            os.close(writing)

    return Fault("the archive hangs", mend)


def proxy_hangs(proxy: Proxy) -> Fault:
    proxy.hang()
    return Fault("the coordinator hangs", proxy.mend)


@pytest.mark.parametrize("limit", ["own", "total"])
def test_fail_fast_raises_on_time_whatever_hangs(given: Given, part: str, limit: str) -> None:
    fields = {**LONG, LIMITS[part]: BUDGET} if limit == "own" else {"total_deadline": BUDGET}

    def attempt() -> SeamlessSLAExceeded:
        with given.provider() as provider:
            began = monotonic()
            with pytest.raises(SeamlessSLAExceeded) as raised:
                given.fetch(provider, **fields)
            took.append(monotonic() - began)
        return raised.value

    took: list[float] = []
    with given.hang():
        attempts = [attempt() for _ in range(3)]
    error = attempts[took.index(min(took))]
    assert (error.phase, error.during) == (PHASES[part] if limit == "own" else "total", PHASES[part])
    assert error.elapsed <= BUDGET + LATE
    if limit == "total":
        assert BUDGET - LATE <= min(took) <= BUDGET + LATE


@pytest.mark.parametrize("limit", ["own", "total"])
def test_partial_fill_returns_on_time_what_there_is(given: Given, part: str, limit: str) -> None:
    fields = {**LONG, LIMITS[part]: BUDGET} if limit == "own" else {"total_deadline": BUDGET, "min_coverage": 0}

    def attempt() -> tuple[float, FetchResult, float]:
        with given.provider() as provider:
            began = monotonic()
            found = given.fetch(provider, **fields, on_violation="partial_fill")
            took = monotonic() - began
            counted = value_of(provider.metrics, "seamless_provider_degraded_total", what=part, dataset=DATASET)
        return took, found, counted

    with given.hang(), structlog.testing.capture_logs() as logged:
        attempts = [attempt() for _ in range(4)]
    # Where the machine is busy, what does not hang may take too long as well; not each time.
    took, found, counted = min((one for one in attempts if set(one[1].degraded) == {part}), key=lambda one: one[0])
    assert counted == 1
    assert found.partial
    assert "gave no answer within" in found.degraded[part]
    assert found.degraded[part] in str(found)
    assert found.timings[PHASES[part]] <= BUDGET + LATE
    assert [broken.objective for broken in found.violations] == [PHASES[part] if limit == "own" else "total"]
    assert any(line["event"] == "provider_degraded" and line["what"] == part for line in logged)
    if limit == "total":
        assert BUDGET - LATE <= took <= BUDGET + LATE
    else:  # The others were there.
        assert found.frame.height == {"archive": 10, "coordinator": 20, "broker": 10}[part]
        assert {hole.why for hole in found.missing} <= {f"{part}_unavailable"}


def test_hold_waits_on_and_gives_all_once_the_fault_is_over(given: Given, part: str) -> None:
    fields = {**LONG, LIMITS[part]: BUDGET, "on_violation": "hold"}
    with given.provider() as provider, ThreadPoolExecutor(1) as pool, ExitStack() as ending:
        if part == "coordinator":
            ending.enter_context(working(given.world))
        fault = ending.enter_context(given.hang())
        waiting = pool.submit(given.fetch, provider, **fields)
        assert not wait([waiting], BUDGET * 3).done
        fault.end()
        found = waiting.result(60)
    assert found.frame.height == {"archive": 10, "coordinator": 30, "broker": 20}[part]
    assert [broken.objective for broken in found.violations] == [PHASES[part]]
    assert not found.partial
    assert not found.degraded


def test_closing_does_not_wait_for_what_hangs(given: Given, part: str) -> None:
    def attempt() -> float:
        provider = given.provider()
        with given.hang():
            given.fetch(provider, total_deadline=BUDGET, on_violation="partial_fill")
            began = monotonic()
            provider.close()
            return monotonic() - began

    assert attempt() < 3


# What is away, rather than hangs


def test_without_an_archive_kafka_is_read_by_time(own: EmbeddedStack, world: str, tmp_path: Path) -> None:
    made = make_provider_world(own, world, tmp_path)
    writer = Writer(made)
    writer.live(bars(["AAA"], range(10)))
    writer.history(bars(["AAA"], range(10, 20)), 1_700_000_000_000)
    writer.close()
    archive_all(made)
    (Path(DatasetTable(made.settings, DATASET).url) / "_delta_log" / f"{0:020}.json").write_text("no log")
    with Provider(made.settings, observe=False) as provider:
        found = provider.fetch(
            DATASET, "AAA", minute(0), minute(20), sla={**LONG, "on_violation": "partial_fill", "retry_backoff": "10ms"}
        )
        with pytest.raises(ArchiveUnavailable):
            provider.fetch(DATASET, "AAA", minute(0), minute(20), sla={**LONG, "retry_backoff": "10ms"})
    assert found.frame.height == 20
    assert found.partial
    assert "archive" in found.degraded


def test_without_a_coordinator_there_is_what_there_is(own: EmbeddedStack, world: str, tmp_path: Path) -> None:
    made = make_provider_world(own, world, tmp_path, source=source_of_bars(tmp_path, ["AAA"], 30))
    writer = Writer(made)
    writer.live(bars(["AAA"], range(10)))
    writer.close()
    archive_all(made)
    away = changed(
        made.settings,
        coordinator_url="http://127.0.0.1:9",
        coordinator={"timeout_s": 1, "retries": 0},
    )
    with Provider(away, observe=False) as provider:
        found = provider.fetch(DATASET, "AAA", minute(0), minute(30), sla={**LONG, "on_violation": "partial_fill"})
        with pytest.raises(CoordinatorUnavailable):
            provider.fetch(DATASET, "AAA", minute(0), minute(30), sla=LONG)
    assert found.frame.height == 10
    assert found.partial
    assert {hole.why for hole in found.missing} == {"coordinator_unavailable"}
    assert "coordinator" in found.degraded


def test_without_a_broker_history_is_readable(own: EmbeddedStack, world: str, tmp_path: Path) -> None:
    made = make_provider_world(own, world, tmp_path)
    writer = Writer(made)
    writer.live(bars(["AAA"], range(10)))
    writer.close()
    archive_all(made)
    away = changed(made.settings, kafka={"bootstrap_servers": "127.0.0.1:9"})
    with Provider(away, observe=False) as provider:
        whole = provider.fetch(DATASET, "AAA", minute(0), minute(10), sla=LONG)
        found = provider.fetch(
            DATASET, "AAA", minute(0), minute(30), sla={**LONG, "on_violation": "partial_fill", "max_wait_live": 3}
        )
        with pytest.raises((BrokerError, SeamlessSLAExceeded)):
            provider.fetch(DATASET, "AAA", minute(0), minute(30), sla={**LONG, "max_wait_live": 3})
    assert whole.complete
    assert found.frame.height == 10
    assert "broker" in found.degraded
