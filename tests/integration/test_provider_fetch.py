"""What a fetch gives, from archive, Kafka and backfill, on the real stack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from streams import Provider, SeamlessSLAExceeded
from streams.archive.reader import ArchiveReader
from streams.sla_policy import SLAPolicy
from tests.support.archiving import Writer, archive_all, bars, make_archive_world
from tests.support.bars import good_bar
from tests.support.providing import minute_now
from tests.support.working import minute
from tests.support.worlds import DATASET, World

pytestmark = pytest.mark.kafka

SYMBOLS = ("AAA", "BBB", "CCC")
WHATEVER = SLAPolicy(min_coverage=0.0)


@pytest.fixture
def archive(stack: Any, world: str, tmp_path: Path) -> World:
    return make_archive_world(stack, world, tmp_path)


@pytest.fixture
def writer(archive: World) -> Iterator[Writer]:
    made = Writer(archive)
    yield made
    made.close()


@pytest.fixture
def provider(archive: World) -> Iterator[Provider]:
    with Provider(archive.settings, observe=False) as made:
        yield made


def test_what_the_archive_has_costs_no_reading_of_kafka(archive: World, writer: Writer, provider: Provider) -> None:
    writer.live(bars(SYMBOLS, range(10)))
    archive_all(archive)
    found = provider.fetch(DATASET, SYMBOLS, minute(0), minute(10))
    assert found.frame.height == 30
    assert found.complete
    assert not found.partial
    assert found.coverage["AAA"].ratio == 1.0
    assert provider._kit.tails.made == 0
    assert set(found.timings) == {"storage_wait", "total"}
    stored = ArchiveReader(archive.settings).read(DATASET, SYMBOLS, minute(0), minute(10))
    assert found.fingerprint == stored.fingerprint


def test_rows_behind_the_archive_are_those_that_it_will_have(
    archive: World, writer: Writer, provider: Provider
) -> None:
    writer.live(bars(SYMBOLS, range(10)))
    writer.history(bars(["BBB"], range(20, 25)), 1_700_000_000_000)
    archive_all(archive)
    writer.live(bars(SYMBOLS, range(10, 20)))
    writer.history([good_bar("AAA", 3, price=55)], 1_900_000_000_000)  # a correction, newer than all
    writer.history([good_bar("BBB", 4, price=66)], 1_000)  # and one that is older
    writer.live([good_bar("CCC", 5, price=77)], abort=True)
    found = provider.fetch(DATASET, SYMBOLS, minute(0), minute(25), sla=WHATEVER)
    assert found.frame.height == 65
    assert provider._kit.tails.made == 1
    archive_all(archive)
    later = ArchiveReader(archive.settings).read(DATASET, SYMBOLS, minute(0), minute(25))
    assert found.frame.equals(later.frame)
    assert found.fingerprint == later.fingerprint
    assert {hole.why for hole in found.missing} == {"no_source"}
    assert "has no source" in found.reasons["backfill_wait"]


def test_what_was_known_at_a_past_moment_stays_as_it_was(archive: World, writer: Writer, provider: Provider) -> None:
    moment = 1_700_000_000_000 + 86_400_000
    writer.history(bars(["AAA"], range(10)), moment)
    archive_all(archive)
    writer.history(bars(["AAA"], range(5, 15), price=200), moment + 1_000)
    then = provider.fetch(DATASET, "AAA", minute(0), minute(20), as_of=moment * 1_000_000, sla=WHATEVER)
    both = provider.fetch(DATASET, "AAA", minute(0), minute(20), as_of=(moment + 1_000) * 1_000_000, sla=WHATEVER)
    assert (then.frame.height, both.frame.height) == (10, 15)
    assert {hole.why for hole in both.missing} == {"known_then"}
    writer.history(bars(["AAA"], range(20), price=300), moment + 2_000)
    archive_all(archive)
    for known, before in ((moment, then), (moment + 1_000, both)):
        again = provider.fetch(DATASET, "AAA", minute(0), minute(20), as_of=known * 1_000_000, sla=WHATEVER)
        assert again.fingerprint == before.fingerprint
        assert again.frame.equals(before.frame)
    assert provider.fetch(DATASET, "AAA", minute(0), minute(20)).frame["close"].to_list() == [300.5] * 20


def test_a_hundred_fetches_at_once_share_few_consumers(archive: World, writer: Writer, provider: Provider) -> None:
    writer.live(bars(SYMBOLS, range(10)))
    with ThreadPoolExecutor(100) as pool:
        found = list(pool.map(lambda n: provider.fetch(DATASET, SYMBOLS[n % 3], minute(0), minute(10)), range(100)))
    assert [one.frame.height for one in found] == [10] * 100
    assert len({one.fingerprint for one in found}) == 3
    assert provider._kit.tails.made <= 4


# Bars that have just ended


def just_now(writer: Writer, minutes: range, symbols: Iterable[str] = ("AAA",)) -> None:
    """Write bars of minutes counted from the one that goes on."""
    this = minute_now()
    writer.live(bars(symbols, range(this + minutes.start, this + minutes.stop)))


def test_a_bar_that_has_just_ended_is_waited_for(archive: World, writer: Writer, provider: Provider) -> None:
    just_now(writer, range(-10, -1))
    since = minute(minute_now() - 10)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(provider.fetch, DATASET, "AAA", since, sla={"max_wait_live": "60s"})
        assert not wait([waiting], 1.0).done, "it did not wait"
        just_now(writer, range(-1, 0))
        found = waiting.result(20)
    assert found.complete
    assert found.frame.height == 10
    assert not found.partial
    assert found.timings["live_wait"] < 15


def test_no_live_wait_gives_the_bars_that_are_there(archive: World, writer: Writer, provider: Provider) -> None:
    just_now(writer, range(-10, -1))
    policy = {"max_wait_live": 0, "min_coverage": 0.5}
    found = provider.fetch(DATASET, "AAA", minute(minute_now() - 10), sla=policy)
    assert found.frame.height == 9
    assert [hole.why for hole in found.missing] == ["not_yet"]
    assert not found.partial
    assert found.timings["total"] < 10


def test_a_bar_that_later_bars_have_passed_is_not_waited_for(
    archive: World, writer: Writer, provider: Provider
) -> None:
    just_now(writer, range(-10, -1))
    just_now(writer, range(1))
    policy = {"max_wait_live": "30s", "min_coverage": 0.5}
    found = provider.fetch(DATASET, "AAA", minute(minute_now() - 10), sla=policy)
    assert [hole.why for hole in found.missing] == ["passed_over"]
    assert found.timings["total"] < 20


def test_a_bar_that_does_not_come_in_time_is_told(archive: World, writer: Writer, provider: Provider) -> None:
    just_now(writer, range(-10, -1))
    policy = {"max_wait_live": "2s", "min_coverage": 0.5}
    since = minute(minute_now() - 10)
    partial = provider.fetch(DATASET, "AAA", since, sla={**policy, "on_violation": "partial_fill"})
    assert partial.partial
    assert "has not come" in partial.reasons["live_wait"]
    with pytest.raises(SeamlessSLAExceeded, match="has not come") as raised:
        provider.fetch(DATASET, "AAA", since, sla=policy)
    assert raised.value.phase == "live_wait"
    assert [hole.symbol for hole in raised.value.missing] == ["AAA"]


def test_a_range_in_the_past_is_never_waited_for(archive: World, writer: Writer, provider: Provider) -> None:
    writer.live(bars(["AAA"], range(5)))
    found = provider.fetch(DATASET, "AAA", minute(0), minute(10), sla=WHATEVER)
    assert found.timings["live_wait"] < 8
    assert {hole.why for hole in found.missing} == {"no_source"}


def test_stale_rows_break_the_promise_of_fresh_ones(archive: World, writer: Writer, provider: Provider) -> None:
    just_now(writer, range(-10, -5))
    archive_all(archive)
    policy = {"max_staleness": "90s", "max_wait_live": 0, "min_coverage": 0, "on_violation": "partial_fill"}
    found = provider.fetch(DATASET, "AAA", minute(minute_now() - 10), sla=policy)
    assert [broken.objective for broken in found.violations] == ["staleness"]
    just_now(writer, range(-2, 0))
    fresh = provider.fetch(DATASET, "AAA", minute(minute_now() - 10), sla=policy)
    assert not fresh.violations
