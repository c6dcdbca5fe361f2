from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.queue_offsets import Queued, QueuePlace, places_of
from coordinator.shards import Progress, Shard, ShardState

SHARD = Shard("", "job-1", "bars", ("A",), 0, 100, "files:x", 0, 1, 600, 3)


def queued(offset: int, name: str, epoch: int = 1) -> Queued:
    return Queued(offset, replace(SHARD, id=name, epoch=epoch))


def known(name: str, state: ShardState, epoch: int = 1, cursor: str | None = None) -> Progress:
    return Progress(replace(SHARD, id=name, epoch=epoch), state, cursor=cursor)


def place(records: list[Queued], *progress: Progress, end: int = 100, committed: int | None = None) -> QueuePlace:
    by_id = {p.shard.id: p for p in progress}
    return places_of("q", 3, records, end, by_id.get, committed)


def test_it_goes_on_at_the_first_shard_that_has_not_ended() -> None:
    records = [queued(0, "a"), queued(3, "b"), queued(6, "c")]
    found = place(records, known("a", ShardState.DONE), known("b", ShardState.PENDING), known("c", ShardState.PENDING))
    assert (found.offset, found.shard, found.cursor, found.skipped) == (3, "b", "", ())


def test_a_shard_that_runs_goes_on_at_its_cursor() -> None:
    records = [queued(0, "a"), queued(3, "b")]
    found = place(records, known("a", ShardState.FAILED), known("b", ShardState.RUNNING, cursor='{"v":1}'))
    assert (found.offset, found.cursor) == (3, '{"v":1}')


def test_behind_the_last_that_ended_it_goes_on_at_the_end() -> None:
    found = place([queued(0, "a"), queued(3, "b")], known("a", ShardState.DONE), known("b", ShardState.SKIPPED), end=5)
    assert (found.offset, found.shard) == (5, None)
    assert place([], end=0).offset == 0


def test_a_record_of_an_older_epoch_is_done_with() -> None:
    records = [queued(0, "a", epoch=1), queued(4, "a", epoch=2)]
    found = place(records, known("a", ShardState.PENDING, epoch=2))
    assert (found.offset, found.shard) == (4, "a")


def test_the_cursor_of_another_epoch_is_not_taken() -> None:
    records = [queued(0, "a", epoch=2)]
    assert place(records, known("a", ShardState.RUNNING, epoch=1, cursor="old")).cursor == ""


def test_a_shard_before_one_that_ended_was_skipped_and_is_named() -> None:
    records = [queued(0, "a"), queued(1, "b"), queued(2, "c")]
    found = place(records, known("a", ShardState.PENDING), known("b", ShardState.DONE), known("c", ShardState.PENDING))
    assert (found.offset, found.skipped) == (2, ("a",))


def test_what_cannot_be_read_is_left_to_a_worker_to_bury_unless_one_has() -> None:
    assert place([Queued(0, None), queued(1, "b")], known("b", ShardState.PENDING)).offset == 0
    assert place([Queued(0, None), queued(1, "b")], known("b", ShardState.DONE), end=2).offset == 2


@pytest.mark.parametrize("committed", [None, 0, 7])
def test_only_a_partition_without_an_offset_needs_one(committed: int | None) -> None:
    assert place([], committed=committed).lost == (committed is None)
