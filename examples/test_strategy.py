"""A strategy, and tests that break what it stands on: `pytest examples/test_strategy.py`, with Seamless installed.

The fixtures come with Seamless; the first test starts a real Kafka and a real registry, which all of them share.
"""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Literal

import polars as pl
import pytest

from coordinator import BackfillRequest, CoordinatorUnavailable, open_coordinator
from operations.testing.faults import FaultInjection
from operations.testing.worlds import SeamlessWorld
from streams import GovernedProducer, Settings, subscribe

BARS = {"bars": {"contract": "ohlcv", "interval": "1m", "mode": "blocking"}}
START = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)
DEADLINE_S = 5.0


# The strategy


def momentum(bars: pl.DataFrame, window: int = 5) -> dict[str, float]:
    """Return by how much each symbol's latest close is over the mean of its latest closes, as a ratio."""
    latest = bars.sort("event_time").group_by("symbol").tail(window)
    scores = latest.group_by("symbol").agg(pl.col("close").last() / pl.col("close").mean() - 1)
    return dict(scores.iter_rows())


def closes(settings: Settings, rows: int, seconds: float = 60.0) -> pl.DataFrame:
    """Return so many rows from the first on; what comes later than `seconds` is not waited for."""
    frames: list[pl.DataFrame] = []
    with subscribe("bars", settings=settings, timeout=seconds) as series:
        for frame in series:
            frames.append(frame)
            if sum(map(len, frames)) >= rows:
                break
    return pl.concat(frames) if frames else pl.DataFrame()


def ask_for_history(settings: Settings, symbol: str, minutes: int, source: str) -> str | None:
    """Return the id of the job that fills in history; None where nobody can be asked, and the strategy does without."""
    wanted = BackfillRequest(
        dataset="bars", symbols=(symbol,), start=START, end=START + timedelta(minutes=minutes), source=source
    )
    try:
        with closing(open_coordinator(settings)) as coordinator:
            return coordinator.request(wanted).job.id
    except CoordinatorUnavailable:
        return None


# Its tests


def made_up(symbol: str, minutes: range) -> pl.DataFrame:
    """Return bars that rise by one a minute."""
    price = pl.Series("close", [100.0 + minute for minute in minutes])
    times = [START + timedelta(minutes=minute) for minute in minutes]
    frame = pl.DataFrame({"symbol": [symbol] * len(minutes), "event_time": times}).with_columns(price)
    return frame.with_columns(
        open=pl.col("close"), high=pl.col("close") + 1, low=pl.col("close") - 1, volume=pl.lit(10.0)
    )


@pytest.mark.seamless_world(datasets=BARS)
def test_it_buys_what_rises(seamless_world: SeamlessWorld) -> None:
    seamless_world.run("normalize")
    with GovernedProducer("bars", seamless_world.settings) as producer:
        producer.send(made_up("UP", range(10)))
    assert momentum(closes(seamless_world.settings, rows=10))["UP"] > 0


@pytest.mark.seamless_world(datasets=BARS)
@pytest.mark.parametrize("how", ["killed", "paused"])
def test_no_bar_is_lost_or_doubled_when_the_broker_goes_away(
    seamless_world: SeamlessWorld, seamless_fault_injection: FaultInjection, how: str
) -> None:
    faults = seamless_fault_injection
    normalizer = seamless_world.run("normalize")
    with GovernedProducer("bars", seamless_world.settings) as producer:
        producer.send(made_up("UP", range(10)))
        producer.flush()
        with faults.broker_killed() if how == "killed" else faults.broker_paused():
            producer.send(made_up("UP", range(10, 20)))  # waits in the producer until the broker is back
        producer.flush(60)
    if not normalizer.alive():  # one that meets no broker at its start gives up; a supervisor starts it again
        seamless_world.run("normalize")
    bars = closes(seamless_world.settings, rows=20)
    assert bars["event_time"].to_list() == [START + timedelta(minutes=minute) for minute in range(20)]


@pytest.mark.seamless_world(datasets=BARS, with_coordinator=True, coordinator={"timeout_s": 1.0, "retries": 2})
@pytest.mark.parametrize("how", ["refuse", "hang"])
def test_it_does_without_history_that_nobody_can_be_asked_for_within_its_deadline(
    seamless_world: SeamlessWorld, seamless_fault_injection: FaultInjection, how: Literal["refuse", "hang"]
) -> None:
    faults = seamless_fault_injection
    with faults.coordinator_hidden(how), faults.retries_end_before(DEADLINE_S) as watched:
        assert ask_for_history(seamless_world.settings, "UP", 10, "files:none.parquet") is None
    assert len(watched.attempts) >= 2


@pytest.fixture
def history(tmp_path: Path) -> str:
    """A vendor's file of two hundred bars."""
    made_up("UP", range(200)).write_parquet(tmp_path / "bars.parquet")
    return f"files:{tmp_path}/bars.parquet"


@pytest.mark.seamless_faults(seed=7)
@pytest.mark.seamless_world(datasets=BARS, backfill={"retry_base_s": 0.05})
def test_a_vendor_that_fails_twice_and_spoils_rows_costs_only_those_rows(
    seamless_world: SeamlessWorld, seamless_fault_injection: FaultInjection, history: str
) -> None:
    vendor = seamless_fault_injection.source(history, fails=2, corrupt=0.1)
    seamless_world.run("worker")
    job = ask_for_history(seamless_world.settings, "UP", 200, vendor.specification)
    assert job is not None
    with closing(open_coordinator(seamless_world.settings)) as coordinator:
        end = monotonic() + 60
        while coordinator.job(job).state != "done":
            assert monotonic() < end, coordinator.job(job)
            sleep(0.1)
        [shard] = coordinator.shards(job=job).items
    assert shard.rows + shard.rejected == 200
    assert 10 <= shard.rejected <= 30  # and the same rows each time
