"""Workers on real Kafka: shards are fetched, each row once, whoever comes, goes, hangs or breaks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from operations.stack import EmbeddedStack
from tests.support.working import asked, finished_job, history, source_of_bars, working
from tests.support.worlds import World, make_backfill_world

pytestmark = pytest.mark.kafka

SYMBOLS = ["AAA", "BBB", "CCC"]
FAST = {"chunk_rows": 50, "retry_base_s": 0.05, "retry_max_s": 0.2}


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path) -> Iterator[World]:
    made = make_backfill_world(stack, world, tmp_path, backfill=FAST)
    yield made
    made.registry.close()


def every_row(symbols: list[str], minutes: int) -> list[tuple[str, int]]:
    return sorted((symbol, minute) for symbol in symbols for minute in range(minutes))


def test_two_workers_fetch_every_row_of_a_job_once(made: World, tmp_path: Path) -> None:
    source = source_of_bars(tmp_path, SYMBOLS, 400)
    job = asked(made, source, SYMBOLS, 400, target_rows=120)
    assert job.shards >= 8
    with working(made) as one, working(made) as two:
        done = finished_job(made, job.id)
        rows = one.value("backfill_rows_total") + two.value("backfill_rows_total")
    assert done.ratio == 1.0
    assert rows == 1_200
    assert history(made) == every_row(SYMBOLS, 400)


def test_shards_of_several_jobs_are_read_from_one_partition_past_the_marks_of_transactions_between_them(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_backfill_world(stack, world, tmp_path, shard_partitions=1, backfill=FAST)
    source = source_of_bars(tmp_path, SYMBOLS, 100)
    jobs = [asked(made, source, [symbol], 100, target_rows=60) for symbol in SYMBOLS]
    assert [job.shards for job in jobs] == [2, 2, 2]
    with working(made):
        for job in jobs:
            finished_job(made, job.id, seconds=20)
    assert history(made) == every_row(SYMBOLS, 100)
    made.registry.close()
