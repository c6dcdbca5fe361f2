"""Whatever is suspended, killed, moved, lost or late, in whatever order: each row is there once, and all shards end.

Ownership and token capture are the real ones; worker processes and Kafka's group, log and transactions are models.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings

from coordinator.ownership import Place
from tests.support.client_model import FAULTS, Fault
from tests.support.group_model import Row, Unstable
from tests.support.ownership_machine import GAP, LEFT, RIGHT, OwnershipMachine
from tests.support.worker_model import ALL_GUARDS, Guarded
from tests.support.wrongs import wrongs

TestEachRowIsWrittenOnceAndEveryShardEnds = OwnershipMachine.TestCase
TestEachRowIsWrittenOnceAndEveryShardEnds.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


# Each guard is taken away in turn: the same story twice -------------------------------------------------------------


def twice(number: int) -> str:
    return f"row {number} of shard-1 is there 2 times"


# What a shard that was done once more from its second row looks like, and one that nobody did.
DOUBLED = [twice(1), twice(2), "shard-1 ended 2 times"]
SKIPPED = ["shard-1 was skipped with 0 of 3 rows"]


def begun(guarded: Guarded) -> OwnershipMachine:
    """One partition, two shards of three rows each; a has written the first row of the first."""
    machine = OwnershipMachine(guarded, {LEFT: ("job", "job")})
    machine.plan([3, 3])
    machine.until(lambda: machine.group.history == [Row("shard-1", 0)], "a")
    return machine


def taken_over(machine: OwnershipMachine) -> None:
    """While a is suspended, b has got the partition and read its committed offset, and has not claimed yet."""
    machine.suspend("a")
    machine.go_on("b")
    machine.until(lambda: LEFT in machine.alive["b"].account.cursors, "b")


def is_pending(machine: OwnershipMachine) -> bool:
    """Whether an open transaction may still change the offset of the partition."""
    try:
        machine.group.committed(LEFT)
    except Unstable:
        return True
    return False


def ended(machine: OwnershipMachine) -> list[str]:
    """Let b go on to the end, and return what is wrong then."""
    machine.until(machine.group.everything_ended, "b")
    return wrongs(machine.group)


# The captured token


def a_zombie_goes_on_after_its_successor_has_read_the_cursor(guarded: Guarded) -> list[str]:
    machine = begun(guarded)
    taken_over(machine)
    machine.wake("a", steps=9)
    return ended(machine)


def test_the_captured_token_of_a_zombie_is_refused() -> None:
    assert a_zombie_goes_on_after_its_successor_has_read_the_cursor(ALL_GUARDS) == []


def test_without_the_captured_token_what_a_zombie_writes_is_written_once_more() -> None:
    found = a_zombie_goes_on_after_its_successor_has_read_the_cursor(replace(ALL_GUARDS, captured_token=False))
    assert found == DOUBLED


# The second look at a token


def a_token_is_read_when_a_zombie_wakes(guarded: Guarded) -> list[str]:
    """Its lease was fenced before, so a has the shard at hand and no token; it wakes just before it reads one."""
    machine = begun(guarded)
    machine.until(lambda: is_pending(machine), "a")
    machine.time_out()
    machine.until(lambda: not machine.alive["a"].slots, "a")
    machine.loop("a", "hear")
    machine.answer("a")
    machine.loop("a", "hear")
    machine.poll("a")
    assert LEFT in machine.alive["a"].account.ready
    machine.suspend("a")
    machine.go_on("b")
    machine.until(lambda: Row("shard-1", 1) in machine.group.history, "b")
    machine.wake("a")
    machine.loop("a", "look")
    machine.loop("a", "claim")
    for _ in range(30):
        machine.step("a")
    return ended(machine)


def test_a_token_counts_after_a_second_look_which_a_zombie_never_gets() -> None:
    assert a_token_is_read_when_a_zombie_wakes(ALL_GUARDS) == []


def test_without_the_second_look_a_zombie_starts_anew_under_a_token_that_is_accepted() -> None:
    assert a_token_is_read_when_a_zombie_wakes(replace(ALL_GUARDS, second_look=False)) == [twice(1)]


# One transactional id per partition


def a_holder_dies_with_its_offset_pending(guarded: Guarded) -> OwnershipMachine:
    machine = begun(guarded)
    machine.until(lambda: is_pending(machine), "a")
    machine.crash("a")
    machine.go_on("b", 200)
    return machine


def test_taking_over_a_partitions_id_ends_what_a_dead_holder_left_open() -> None:
    machine = a_holder_dies_with_its_offset_pending(ALL_GUARDS)
    assert machine.group.everything_ended()
    assert wrongs(machine.group) == []


def test_without_ids_of_partitions_a_shard_waits_until_the_dead_holders_transaction_times_out() -> None:
    machine = a_holder_dies_with_its_offset_pending(replace(ALL_GUARDS, partition_ids=False))
    assert machine.group.history == [Row("shard-1", 0)]
    machine.time_out()
    assert ended(machine) == []


def a_zombie_with_a_fresh_token_goes_on_after_its_successor_has_claimed(guarded: Guarded) -> list[str]:
    machine = begun(guarded)
    taken_over(machine)
    machine.until(lambda: bool(machine.alive["b"].slots), "b")
    machine.step("b")
    machine.wake("a", steps=9)
    return ended(machine)


def test_the_id_of_a_partition_stops_even_a_zombie_whose_token_is_accepted() -> None:
    found = a_zombie_with_a_fresh_token_goes_on_after_its_successor_has_claimed(
        replace(ALL_GUARDS, captured_token=False)
    )
    assert found == []


def test_with_neither_token_nor_id_a_zombie_doubles_rows_at_any_time() -> None:
    found = a_zombie_with_a_fresh_token_goes_on_after_its_successor_has_claimed(
        replace(ALL_GUARDS, captured_token=False, partition_ids=False)
    )
    assert found == DOUBLED


# Stable reads of the committed offset


def a_zombie_ends_its_transaction_after_its_successor_has_read_the_cursor(guarded: Guarded) -> list[str]:
    """Its token was right when its offset was sent, and nobody asks for it again."""
    machine = begun(guarded)
    machine.until(lambda: is_pending(machine), "a")
    taken_over(machine)
    machine.wake("a", steps=2)
    return ended(machine)


def test_a_pending_offset_is_not_read_but_aborted() -> None:
    assert a_zombie_ends_its_transaction_after_its_successor_has_read_the_cursor(ALL_GUARDS) == []


def test_without_stable_reads_a_row_is_doubled_whose_transaction_was_still_open() -> None:
    without = replace(ALL_GUARDS, stable_reads=False)
    assert a_zombie_ends_its_transaction_after_its_successor_has_read_the_cursor(without) == [twice(1)]


# The position guard


def records_reach_a_worker_otherwise(fault: Fault, guarded: Guarded) -> list[str]:
    machine = OwnershipMachine(guarded, {LEFT: ("job", "job")})
    machine.plan([3, 3])
    machine.go_on("b")
    machine.spoil("b", fault)
    if fault == "stale":
        machine.until(lambda: Row("shard-1", 2) in machine.group.history, "b")
        machine.spoil("b", fault)
    return ended(machine)


@pytest.mark.parametrize("fault", FAULTS)
def test_with_the_position_guard_no_record_is_lost_or_worked_on_twice(fault: Fault) -> None:
    assert records_reach_a_worker_otherwise(fault, ALL_GUARDS) == []


def test_without_the_position_guard_a_dropped_record_is_a_skipped_shard() -> None:
    assert records_reach_a_worker_otherwise("drop", replace(ALL_GUARDS, positions=False)) == SKIPPED


def test_without_the_position_guard_a_stale_record_is_a_shard_done_twice() -> None:
    found = records_reach_a_worker_otherwise("stale", replace(ALL_GUARDS, positions=False))
    assert found == [twice(0), *DOUBLED]


def test_without_the_position_guard_records_in_the_wrong_order_are_a_skipped_shard() -> None:
    assert records_reach_a_worker_otherwise("swap", replace(ALL_GUARDS, positions=False)) == SKIPPED


# Grants --------------------------------------------------------------------------------------------------------------


def test_an_offset_that_was_read_for_an_earlier_grant_is_not_gone_on_from() -> None:
    """A reads it and is suspended, b does the shard and dies; a gets the partition back, and only then hears of it."""
    machine = OwnershipMachine(queues={LEFT: ("job", "job")})
    machine.plan([3, 3])
    machine.go_on("a")
    machine.poll("a")
    machine.answer("a")
    machine.suspend("a")
    machine.go_on("b")
    machine.until(lambda: bool(machine.group.endings), "b")
    machine.crash("b")
    machine.wake("a")
    for _ in range(2):
        machine.poll("a")
    machine.loop("a", "hear")
    assert LEFT not in machine.alive["a"].account.cursors
    machine.check()
    machine.teardown()


def test_what_a_slot_reports_of_an_earlier_grant_leaves_the_present_one_alone() -> None:
    """A loses the partition and gets it back, and claims anew; only then does its first slot come to an end."""
    machine = begun(ALL_GUARDS)
    machine.suspend("a")
    machine.wake("a")
    machine.heartbeat("a")
    for _ in range(2):
        machine.poll("a")
    machine.answer("a")
    machine.loop("a", "hear")
    for _ in range(2):
        machine.poll("a")
        machine.loop("a", "look")
    machine.loop("a", "claim")
    process = machine.alive["a"]
    first, second = process.slots
    assert first.lease.grant != second.lease.grant
    first.finish()
    machine.loop("a", "hear")
    assert list(process.account.running) == [LEFT]
    machine.check()
    machine.teardown()


# Whose turn it is ----------------------------------------------------------------------------------------------------


def jobs_in_the_order_of_their_ends(machine: OwnershipMachine) -> list[str]:
    jobs = {shard.id: shard.job for queue in machine.group.queues.values() for shard in queue.values()}
    return [jobs[ending.shard] for ending in machine.group.endings]


def test_a_small_job_is_not_stuck_behind_a_large_one() -> None:
    """Five partitions hold shards of the large job and one those of the small, which get every fourth turn."""
    queues = {Place("shards", n): ("large",) * 4 for n in range(5)} | {Place("shards", 5): ("small",) * 3}
    machine = OwnershipMachine(queues=queues)
    machine.plan([2] * 23)
    machine.until(machine.group.everything_ended, "a")
    order = jobs_in_the_order_of_their_ends(machine)
    assert order.count("small") == 3
    assert order[:12].count("small") == 3, order


def test_urgent_shards_wait_for_none_but_those_that_run() -> None:
    machine = OwnershipMachine(queues={GAP: (), LEFT: ("job",) * 3, RIGHT: ("job",) * 3})
    machine.plan([2] * 6)
    machine.until(lambda: len(machine.group.history) == 2, "a")
    for _ in range(2):
        machine.queue(GAP, 2)
    machine.until(machine.group.everything_ended, "a")
    assert jobs_in_the_order_of_their_ends(machine)[:3] == ["job", "job", "late"]
