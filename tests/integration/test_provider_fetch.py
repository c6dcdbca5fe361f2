"""What a fetch gives, from archive, Kafka and backfill, on the real stack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams import Provider
from streams.archive.reader import ArchiveReader
from streams.sla_policy import SLAPolicy
from tests.support.archiving import Writer, archive_all, bars, make_archive_world
from tests.support.bars import good_bar
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


def test_what_the_archive_has_costs_no_connection_to_kafka(archive: World, writer: Writer, provider: Provider) -> None:
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
