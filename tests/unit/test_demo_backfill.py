"""The demo's backfill: whom to kill and when, who took over, and how it is drawn."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from rich.console import Console, RenderableType

from coordinator.cursor import Cursor
from coordinator.protocol import JobStatus, LeaseStatus, ProgressEvent, ShardStatus
from coordinator.shards import ShardState
from streams.demo.coverage import coverage
from streams.demo.filling import Filling, Kill, cursor_of, label, still_half_done, victim
from streams.demo.picture import grid, moving

START = datetime(2007, 1, 3, 5, tzinfo=UTC)
NUMBERS = {"here:11": 1, "here:12": 2, "here:13": 3}
KILLED_AT = 1_700_000_000_000


def shard(name: str, rows: int = 0, state: ShardState = ShardState.PENDING, host: str = "", **more: Any) -> ShardStatus:
    values: dict[str, Any] = {
        "id": name, "job": "job", "dataset": "d", "symbols": ("IBM",), "start": START, "end": START, "state": state,
        "urgent": False, "partition": 0, "offset": 0, "epoch": 1, "attempt": 1, "chunks": 1, "rows": rows,
        "rejected": 0, "outside": 0, "estimated_rows": 100, "digest": "", "member": "m", "host": host,
        "lease_epoch": 1, "updated_at": START,
    }  # fmt: skip
    return ShardStatus.model_validate(values | more)


def job(shards: int) -> JobStatus:
    return JobStatus(
        id="job", epoch=1, state="running", dataset="d", symbols=("IBM",), start=START, end=START, source="files:x",
        as_of=START, urgent=False, created_at=START, requested_by="", shards=shards, shards_by_state={}, rows=0,
        estimated_rows=100 * shards, ratio=0.0,
    )  # fmt: skip


def filling(*shards: ShardStatus) -> Filling:
    made = Filling(job(len(shards)), NUMBERS)
    made.look(made.job, shards, [], 1.0)
    return made


def running(name: str, rows: int, host: str = "here:11", **more: Any) -> ShardStatus:
    return shard(name, rows, ShardState.RUNNING, host, **more)


def done(name: str, host: str = "here:11", **more: Any) -> ShardStatus:
    return shard(name, 100, ShardState.DONE, host, **more)


def lease(held: ShardStatus, rows: int, newest: datetime | None) -> LeaseStatus:
    nanos = None if newest is None else int(newest.timestamp()) * 10**9
    return LeaseStatus(
        queue="q", partition=0, shard=held.id, job="job", member="m", host=held.host, epoch=1, attempt=1,
        cursor=Cursor(held.id, 1, 1, rows=rows, newest=newest and nanos).encode(), rows=rows,
        seconds_since_progress=0.0, stalled=False,
    )  # fmt: skip


def kill(held: ShardStatus) -> Kill:
    return Kill(NUMBERS[held.host], 11, held, 0.5, held.rows, START, KILLED_AT, 1.0)


def resumed(name: str, host: str, rows: int, seconds: float = 6.5, **more: Any) -> ProgressEvent:
    at = datetime.fromtimestamp(KILLED_AT / 1_000, UTC) + timedelta(seconds=seconds)
    return ProgressEvent.model_validate(
        {"kind": "lease", "id": name, "job": "job", "state": "resumed", "rows": rows, "host": host, "at": at} | more
    )


def drawn(what: RenderableType, width: int = 100) -> str:
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(what)
    return console.export_text()


def test_nobody_is_killed_before_half_of_all_rows_are_there() -> None:
    assert victim(filling(running("a", 50), shard("b"))) is None


def test_the_worker_of_the_shard_that_was_begun_last_is_killed_half_way() -> None:
    shards = done("a"), running("b", 50, "here:12"), running("c", 30, "here:13"), shard("d", 20)
    found = victim(filling(*shards))
    assert found is not None
    assert found.id == "c"


@pytest.mark.parametrize("rows", [0, 10, 70, 100])
def test_nobody_is_killed_at_the_border_of_a_shard(rows: int) -> None:
    assert victim(filling(done("a"), done("b"), running("c", rows))) is None


def test_a_worker_that_has_ended_the_shard_meanwhile_does_not_hold_it() -> None:
    held = running("a", 50)
    assert still_half_done(running("a", 60), held)
    assert not still_half_done(done("a"), held)
    assert not still_half_done(running("a", 60, "here:12"), held)
    assert not still_half_done(running("a", 100), held)


def test_the_cursor_of_a_lease_tells_rows_and_the_last_day() -> None:
    held = running("a", 42)
    assert cursor_of(lease(held, 42, START)) == (42, START)
    with pytest.raises(ValueError, match="before its first row"):
        cursor_of(lease(held, 0, None))


def test_a_commit_that_is_heard_of_after_the_kill_counts() -> None:
    held = running("a", 40)
    made = filling(held)
    made.kill = kill(held)
    made.look(made.job, [held], [lease(held, 50, START + timedelta(days=9))], 2.0)
    assert (made.kill.rows, made.kill.newest) == (50, START + timedelta(days=9))
    made.look(made.job, [held], [lease(replace_host(held, "here:12"), 70, START)], 3.0)
    assert made.kill.rows == 50


def replace_host(held: ShardStatus, host: str) -> ShardStatus:
    return held.model_copy(update={"host": host})


def test_who_goes_on_with_the_dead_workers_shard_has_taken_over() -> None:
    held = running("a", 42)
    made = filling(held)
    made.kill = kill(held)
    for other in (
        resumed("b", "here:12", 42),
        resumed("a", "here:11", 42),
        resumed("a", "elsewhere:7", 42),
        resumed("a", "here:12", 42, state="completed"),
        resumed("a", "here:12", 42, kind="shard"),
    ):
        assert made.hear(other) is None
    found = made.hear(resumed("a", "here:12", 42))
    assert found is not None
    assert (found.number, found.rows, found.seconds) == (2, 42, 6.5)
    assert made.hear(resumed("a", "here:13", 49)) is None
    assert made.takeover == found


def test_nobody_takes_over_while_nobody_is_killed() -> None:
    made = filling(running("a", 42))
    assert made.hear(resumed("a", "here:12", 42)) is None


def test_a_shard_that_was_taken_over_has_two_writers_and_others_have_one() -> None:
    held = running("a", 42)
    made = filling(held, shard("b"))
    made.kill = kill(held)
    assert made.writers(held) == (1,)
    assert made.writers(done("a", "here:13")) == (1, 3)
    assert made.writers(done("c", "here:13")) == (3,)
    assert made.writers(shard("b")) == ()


def test_the_picture_has_a_cell_for_each_shard_with_its_writer() -> None:
    later = START + timedelta(days=90)
    made = filling(
        done("a", "here:13"), running("b", 50, start=later), done("c", "here:12", symbols=("MSFT",)),
        shard("d", symbols=("MSFT",), start=later),
    )  # fmt: skip
    lines = [line.rstrip() for line in drawn(grid(made, 100)).splitlines()]
    assert lines == ["     2007-01   2007-04", "IBM  3████████ 1████····", "MSFT 2████████ ·········"]
    made.kill = kill(running("b", 50))
    assert "1†████···" in drawn(grid(made, 100))
    text = drawn(moving(made, 100))
    assert "2 of 4 shards" in text
    assert "250 of 400 rows" in text
    assert "worker 1" in text
    assert "killed" in text


def test_a_shard_that_is_not_done_is_never_drawn_full() -> None:
    assert "1███████·" in drawn(grid(filling(running("a", 100)), 100))


def test_a_shard_is_named_by_symbol_and_first_day_and_a_worker_by_its_number() -> None:
    assert label(shard("a")) == "IBM from 2007-01-03"
    assert filling().named("here:11 in place of here:13") == "worker 1 in place of worker 3"


def test_coverage_tells_quarters_by_where_their_bars_are_from() -> None:
    def bars(symbol: str, *months: tuple[int, int]) -> pl.DataFrame:
        times = [datetime(year, month, 5, 5, tzinfo=UTC) for year, month in months]
        return pl.DataFrame(
            {"symbol": symbol, "event_time": times},
            schema={"symbol": pl.String, "event_time": pl.Datetime("us", "UTC")},
        )

    feed = pl.concat([bars("A", (2006, 11), (2006, 12), (2008, 1)), bars("B", (2007, 8), (2008, 2))])
    first, second = coverage(feed)
    assert (first.symbol, first.year, first.quarters, first.live) == ("A", 2006, "   █····█", 3)
    assert second.quarters == "      █·█"
    filled = coverage(feed, bars("A", (2007, 1), (2007, 2), (2007, 5), (2007, 8), (2007, 10)))
    assert [(c.quarters, c.live, c.history) for c in filled] == [("   █▒▒▒▒█", 3, 5), ("      █·█", 2, 0)]
    assert coverage(bars("A")) == []
