"""What is missing is fetched by the coordinator, whichever it is, and given in the same call."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from coordinator.local import LocalBackfillCoordinator
from streams import Provider, SeamlessSLAExceeded
from streams.archive.reader import ArchiveReader
from streams.sla_policy import SLAPolicy
from tests.support.archiving import Writer, archive_all, bars
from tests.support.providing import make_provider_world, providing
from tests.support.working import minute, source_of_bars, working
from tests.support.worlds import DATASET, World

pytestmark = pytest.mark.kafka

SYMBOLS = ("AAA", "BBB", "CCC")
PATIENT = SLAPolicy(max_wait_backfill=90, max_wait_live=60, max_wait_storage=60, total_deadline=150, min_coverage=0.0)


@pytest.fixture
def sourced(stack: Any, world: str, tmp_path: Path) -> World:
    """A world whose source has 100 minutes of three symbols."""
    return make_provider_world(stack, world, tmp_path, source=source_of_bars(tmp_path, list(SYMBOLS), 100))


@pytest.fixture(params=["local", "distributed"])
def provider(request: pytest.FixtureRequest, sourced: World) -> Iterator[Provider]:
    with providing(sourced, request.param) as made:
        yield made


def jobs_of(world: World) -> int:
    coordinator = LocalBackfillCoordinator(world.settings)
    try:
        return len(coordinator.jobs())
    finally:
        coordinator.close()


def test_archive_tail_and_backfill_are_one_series(sourced: World, provider: Provider) -> None:
    writer = Writer(sourced)
    try:
        writer.live(bars(SYMBOLS, range(40, 60), price=7))
        archive_all(sourced)
        writer.live(bars(SYMBOLS, range(60, 80), price=8))
    finally:
        writer.close()
    with working(sourced):
        found = provider.fetch(DATASET, SYMBOLS, minute(0), minute(100), sla=PATIENT)
    assert found.complete
    assert not found.partial
    assert found.frame.height == 300
    of_one = found.frame.filter(symbol="AAA")["open"].to_list()
    assert of_one[40:60] == [7.0] * 20
    assert of_one[60:80] == [8.0] * 20
    assert of_one[:40] + of_one[80:] == [100.0 + at % 7 for at in [*range(40), *range(80, 100)]]
    archive_all(sourced)
    later = ArchiveReader(sourced.settings).read(DATASET, SYMBOLS, minute(0), minute(100))
    assert found.fingerprint == later.fingerprint
    assert found.frame.equals(later.frame)


def test_what_the_source_does_not_have_is_told_as_such(sourced: World, provider: Provider) -> None:
    with working(sourced):
        found = provider.fetch(DATASET, SYMBOLS, minute(90), minute(110), sla=PATIENT)
        assert {hole.why for hole in found.missing} == {"source_has_none"}
        assert [hole.start for hole in found.missing] == [int(minute(100).timestamp() * 1e9)] * 3
        assert not found.partial
        again = provider.fetch(DATASET, SYMBOLS, minute(90), minute(110), sla=PATIENT)
    assert again.fingerprint == found.fingerprint
    assert jobs_of(sourced) <= 2


def test_equal_fetches_at_once_share_one_job(sourced: World, provider: Provider) -> None:
    with working(sourced), ThreadPoolExecutor(20) as pool:
        found = list(
            pool.map(lambda _: provider.fetch(DATASET, SYMBOLS, minute(0), minute(100), sla=PATIENT), range(20))
        )
    assert [one.frame.height for one in found] == [300] * 20
    assert len({one.fingerprint for one in found}) == 1
    assert jobs_of(sourced) == 1


def test_what_is_not_there_in_time_is_marked_or_raised(sourced: World, provider: Provider) -> None:
    short = {"max_wait_backfill": "3s", "min_coverage": 0}  # nobody works
    found = provider.fetch(DATASET, SYMBOLS, minute(0), minute(9), sla={**short, "on_violation": "partial_fill"})
    assert found.partial
    assert {hole.why for hole in found.missing} == {"running"}
    assert "is pending" in found.reasons["backfill_wait"]
    with pytest.raises(SeamlessSLAExceeded, match="is pending") as raised:
        provider.fetch(DATASET, SYMBOLS, minute(0), minute(9), sla=short)
    assert raised.value.phase == "backfill_wait"
    assert len(raised.value.missing) == 3


def test_a_job_that_fails_is_told_with_its_error(stack: Any, world: str, tmp_path: Path) -> None:
    failing = make_provider_world(stack, world, tmp_path, source=f"files:{tmp_path / 'nothing-there'}")
    with providing(failing) as provider, working(failing):
        found = provider.fetch(DATASET, SYMBOLS, minute(0), minute(9), sla=PATIENT)
    assert {hole.why for hole in found.missing} == {"job_failed"}
    assert "nothing-there" in found.missing[0].detail
    assert "failed" in found.reasons["backfill_wait"]


def test_symbols_that_the_dataset_does_not_have_are_refused_by_the_coordinator(
    stack: Any, world: str, tmp_path: Path
) -> None:
    named = make_provider_world(
        stack, world, tmp_path, source=source_of_bars(tmp_path, list(SYMBOLS), 10), symbols=list(SYMBOLS)
    )
    with providing(named) as provider:
        found = provider.fetch(DATASET, "XXX", minute(0), minute(9), sla=PATIENT)
    assert [hole.why for hole in found.missing] == ["rejected"]
    assert "unknown: XXX" in found.reasons["backfill_wait"]
