from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from coordinator.explain import Explanation, explain
from coordinator.lease_event import LeaseChange, LeaseEvent
from coordinator.shards import Progress, Shard, ShardState

SHARD = Shard("shard-1", "job-1", "bars", ("A",), 0, 100, "files:x", 0, 1, 600, 3)


def event(kind: LeaseChange, at: float, who: str = "one", **changes: Any) -> LeaseEvent:
    plain = LeaseEvent(
        shard="shard-1",
        job="job-1",
        event=kind,
        queue="w.backfill.shards",
        partition=3,
        offset=7,
        member=f"member-{who}",
        host=f"{who}:42",
        lease_epoch=5,
        attempt=1,
        rows=0,
        at=int(1_000 * at),
    )
    return replace(plain, **changes)


def progress(state: ShardState = ShardState.DONE, **changes: Any) -> Progress:
    plain = Progress(SHARD, state, attempt=1, sequence=3, offset=7, member="member-one", host="one:42", rows=600)
    return replace(plain, **changes)


def told(*events: LeaseEvent, now: Progress | None = None) -> Explanation:
    return explain(now or progress(), events)


def test_a_quiet_life_is_two_sentences() -> None:
    found = told(event(LeaseChange.CLAIMED, 0), event(LeaseChange.COMPLETED, 9, rows=600))
    assert [step.text for step in found.steps] == [
        "one:42 (member epoch 5) claimed it at its beginning, from partition 3 of w.backfill.shards, as attempt 1.",
        "one:42 completed it with 600 rows.",
    ]
    (holding,) = found.holdings
    assert (holding.how, holding.began, holding.ended, holding.rows_after) == ("completed", 0, 9_000, 600)
    assert found.moves == 0
    assert found.now == "It is done with 600 rows (epoch 1, attempt 1)."


def test_a_holder_that_was_killed_told_nothing_and_its_successor_tells_it() -> None:
    found = told(
        event(LeaseChange.CLAIMED, 0),
        event(LeaseChange.RESUMED, 12, "two", attempt=2, rows=200, lease_epoch=8),
        event(LeaseChange.COMPLETED, 20, "two", attempt=2, rows=600, lease_epoch=8),
    )
    assert found.steps[1].text.startswith("one:42 told of no end")
    assert (
        "12.0 s after its claim two:42 (member epoch 8) took it in its place after 200 rows, as attempt 2."
        in found.steps[1].text
    )
    assert [h.how for h in found.holdings] == ["silent", "completed"]
    assert (found.holdings[0].ended, found.holdings[0].rows_after) == (12_000, 200)
    assert found.moves == 1


def test_a_drained_worker_hands_over_within_the_time_that_is_told() -> None:
    found = told(
        event(LeaseChange.CLAIMED, 0),
        event(LeaseChange.CHECKPOINTED, 5, rows=200),
        event(LeaseChange.RESUMED, 6.5, "two", attempt=2, rows=200),
    )
    assert found.steps[1].text == "one:42 was told to end and left it at 200 rows."
    assert "took it in place of one:42, 1.5 s later after 200 rows" in found.steps[2].text
    assert [h.how for h in found.holdings] == ["drained", "held"]


def test_a_zombie_that_is_fenced_after_the_next_claim_is_told_as_late() -> None:
    found = told(
        event(LeaseChange.CLAIMED, 0),
        event(LeaseChange.RESUMED, 12, "two", attempt=2, rows=200),
        event(LeaseChange.FENCED, 30, rows=250, detail="ILLEGAL_GENERATION"),
        event(LeaseChange.COMPLETED, 40, "two", attempt=2, rows=600),
    )
    assert "The broker refused a transaction of one:42" in found.steps[2].text
    assert found.steps[2].text.endswith("ILLEGAL_GENERATION. This was told after the next claim.")
    assert [h.how for h in found.holdings] == ["fenced", "completed"]
    assert found.holdings[0].ended == 12_000, "the lease had moved before its old holder knew"


def test_a_shard_that_failed_and_was_queued_again_is_no_move_in_place() -> None:
    found = told(
        event(LeaseChange.CLAIMED, 0),
        event(LeaseChange.FAILED, 5, rows=200, detail="the vendor is down"),
        event(LeaseChange.RESUMED, 60, "two", offset=19, rows=200),
        now=progress(ShardState.RUNNING, shard=replace(SHARD, epoch=2), host="two:42", rows=400, offset=19),
    )
    assert found.steps[1].text == "one:42 gave it up after 200 rows: the vendor is down."
    assert found.steps[2].text.startswith("It had been queued again: two:42")
    assert found.holdings[1].offset == 19
    assert found.now == "two:42 holds it and has written 400 rows (epoch 2, attempt 1)."


def test_a_shard_without_a_holder_waits() -> None:
    assert told(now=progress(ShardState.PENDING, attempt=0, rows=0)).now == (
        "It waits in partition 3 of its queue (epoch 1)."
    )
    left = told(
        event(LeaseChange.CLAIMED, 0),
        event(LeaseChange.REVOKED, 5, rows=200),
        now=progress(ShardState.RUNNING, rows=200),
    )
    assert left.now == "It waits to be taken again, after 200 rows (epoch 1, attempt 1)."


def test_every_kind_of_event_has_a_sentence() -> None:
    for kind in LeaseChange:
        (step,) = told(event(kind, 1, rows=3, detail="why")).steps
        assert step.text.endswith(".")
        assert "one:42" in step.text


def test_events_of_other_shards_are_left_out() -> None:
    assert told(event(LeaseChange.CLAIMED, 0, shard="shard-2")).steps == ()


def test_it_can_be_told_as_json() -> None:
    datum = told(event(LeaseChange.CLAIMED, 1.5), event(LeaseChange.COMPLETED, 9, rows=600)).to_json()
    again = json.loads(json.dumps(datum))
    assert again["steps"][0]["at"] == "1970-01-01T00:00:01.500Z"
    assert again["holdings"][0]["ended"] == "1970-01-01T00:00:09.000Z"
