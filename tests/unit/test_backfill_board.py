from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from coordinator.protocol import JobStatus, ProgressEvent, ShardStatus
from coordinator.shards import ShardState
from streams.cli.backfill_board import Board

AT = datetime(2026, 1, 1, tzinfo=UTC)


def job(rows: int = 0, ratio: float = 0.0, state: str = "running", estimated_rows: int = 1_000) -> JobStatus:
    return JobStatus.model_validate(
        {
            "id": "job-1", "epoch": 1, "state": state, "dataset": "bars", "symbols": ["A"], "start": AT, "end": AT,
            "source": "files:x", "as_of": AT, "urgent": False, "created_at": AT, "requested_by": "", "shards": 10,
            "shards_by_state": {}, "rows": rows, "estimated_rows": estimated_rows, "ratio": ratio,
        }
    )  # fmt: skip


def shard(name: str, host: str, rows: int) -> ShardStatus:
    return ShardStatus.model_validate(
        {
            "id": name, "job": "job-1", "dataset": "bars", "symbols": ["A"], "start": AT, "end": AT, "state": "running",
            "urgent": False, "partition": 1, "offset": 0, "epoch": 1, "attempt": 1, "chunks": 1, "rows": rows,
            "rejected": 0, "outside": 0, "estimated_rows": 100, "digest": "", "member": "m", "host": host,
            "lease_epoch": 1, "updated_at": AT,
        }
    )  # fmt: skip


def event(kind: str, name: str, state: str, host: str = "one", rows: int = 0) -> ProgressEvent:
    datum: dict[str, Any] = {"kind": kind, "id": name, "job": "job-1", "state": state, "rows": rows, "host": host}
    return ProgressEvent.model_validate(datum | {"partition": 1, "at": AT})


def test_pace_and_time_left_follow_from_the_rows_that_came() -> None:
    board = Board(job(rows=100), 0.0)
    assert board.seconds_left(0.0) is None
    board.refresh(job(rows=300, ratio=0.3), [], 4.0)
    assert board.rate(4.0) == 50.0
    assert board.seconds_left(4.0) == 14.0
    assert board.rate(30.0) == 0.0, "what came long ago is no pace"


def test_the_pace_is_that_of_the_last_seconds() -> None:
    board = Board(job(), 0.0)
    for second in range(1, 61):
        board.refresh(job(rows=1_000 if second > 30 else 0), [], float(second))
    assert board.rate(60.0) == 0.0


def test_two_looks_in_one_moment_tell_no_pace() -> None:
    board = Board(job(rows=100), 0.0)
    board.refresh(job(rows=200), [], 0.001)
    assert board.rate(0.001) == 0.0


def test_the_share_counts_what_runs_and_is_whole_only_when_all_is_done() -> None:
    board = Board(job(), 0.0)
    board.refresh(job(rows=300, ratio=0.2), [shard("s1", "one", 60), shard("s2", "one", 900)], 1.0)
    assert board.share() == pytest.approx(0.2 + 0.06 + 0.1)
    board.refresh(job(rows=1_000, ratio=0.95), [shard("s1", "one", 100)], 1.0)
    assert board.share() == 0.999
    board.refresh(job(rows=1_000, ratio=1.0, state="done"), [], 1.0)
    assert board.share() == 1.0


def test_each_worker_is_credited_with_what_it_wrote_while_somebody_looked() -> None:
    board = Board(job(), 0.0)
    board.refresh(job(), [shard("s1", "one", 500), shard("s2", "two", 0)], 0.0)
    board.take(event("shard", "s1", "running", "one", 540), 1.0)
    board.take(event("shard", "s1", "running", "one", 580), 2.0)
    board.take(event("shard", "s2", "running", "two", 30), 2.0)
    one, two = board.workers(2.0)
    assert (one.host, one.shards, one.rows) == ("one", 1, 80)
    assert (two.host, two.shards, two.rows) == ("two", 1, 30)
    assert one.rate > 0


def test_a_shard_that_another_process_goes_on_with_has_moved() -> None:
    board = Board(job(), 0.0)
    assert board.take(event("lease", "s1", "claimed", "one"), 0.0) is None
    assert board.take(event("lease", "s1", "resumed", "one", 5), 1.0) is None, "the same process goes on"
    move = board.take(event("lease", "s1", "resumed", "two", 40), 2.0)
    assert move is not None
    assert move.text == "s1 moved from one to two, which goes on after 40 rows"


def test_a_move_is_seen_though_a_look_came_before_its_event() -> None:
    board = Board(job(), 0.0)
    board.refresh(job(), [shard("s1", "one", 5)], 0.0)
    board.refresh(job(), [shard("s1", "two", 9)], 1.0)
    move = board.take(event("lease", "s1", "resumed", "two", 9), 1.1)
    assert move is not None
    assert "moved from one to two" in move.text


@pytest.mark.parametrize("state", ["revoked", "lost", "released", "fenced", "stalled", "checkpointed", "failed"])
def test_what_ends_a_lease_early_is_told(state: str) -> None:
    move = Board(job(), 0.0).take(event("lease", "s1", state, rows=7), 0.0)
    assert move is not None
    assert "s1" in move.text
    assert "one" in move.text or state in ("revoked",)


def test_what_ends_well_is_no_move() -> None:
    board = Board(job(), 0.0)
    board.refresh(job(), [shard("s1", "one", 5)], 0.0)
    assert board.take(event("lease", "s1", "completed", rows=7), 0.0) is None
    board.take(event("shard", "s1", ShardState.DONE.value, rows=7), 0.0)
    assert board.running == {}
