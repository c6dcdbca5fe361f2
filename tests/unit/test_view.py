"""What the view makes of records: states of jobs, shares that are done, leases, coverage and pages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.orders import Order, OrderKind
from coordinator.protocol import JobState
from coordinator.ranges import Range
from coordinator.shards import Job, Progress, Shard, ShardState
from coordinator.status import job_status, lease_status, moment, nanoseconds
from coordinator.view import View
from tests.support.backfills import HOUR, job_of, progress_of, shard_of

A, B = shard_of("a"), shard_of("b", hour=1, estimated_rows=180)
JOB = job_of("job-a", A, B)
CANCEL, PAUSE = Order("job-a", OrderKind.CANCEL, 1, at=5), Order("job-a", OrderKind.PAUSE, 1, at=5)
RESUME = Order("job-a", OrderKind.RESUME, 2, at=6)
S = ShardState


def view_of(*events: Job | Progress | Order) -> View:
    view = View()
    for event in events:
        view.apply(event)
    return view


def states(a: ShardState, b: ShardState) -> tuple[Progress, Progress]:
    return progress_of(A, a), progress_of(B, b)


@pytest.mark.parametrize(
    ("a", "b", "order", "state"),
    [
        (S.PENDING, S.PENDING, None, "pending"),
        (S.PENDING, S.RUNNING, None, "running"),
        (S.PENDING, S.DONE, None, "running"),
        (S.FAILED, S.RUNNING, None, "running"),
        (S.DONE, S.DONE, None, "done"),
        (S.DONE, S.DONE, CANCEL, "done"),
        (S.DONE, S.FAILED, None, "failed"),
        (S.SKIPPED, S.FAILED, None, "failed"),
        (S.DONE, S.SKIPPED, None, "incomplete"),
        (S.RUNNING, S.CANCELLED, CANCEL, "cancelling"),
        (S.PENDING, S.PENDING, CANCEL, "cancelling"),
        (S.DONE, S.CANCELLED, CANCEL, "cancelled"),
        (S.RUNNING, S.PARKED, PAUSE, "paused"),
        (S.PARKED, S.PARKED, PAUSE, "paused"),
        (S.FAILED, S.DONE, PAUSE, "failed"),
        (S.PARKED, S.RUNNING, RESUME, "running"),
    ],
)
def test_the_state_of_a_job_follows_from_its_shards_and_orders(
    a: ShardState, b: ShardState, order: Order | None, state: JobState
) -> None:
    assert view_of(JOB, *states(a, b), *([order] if order else [])).state("job-a") == state


def test_an_order_is_void_for_a_job_that_was_asked_for_anew() -> None:
    assert view_of(JOB, *states(S.CANCELLED, S.PENDING), CANCEL).state("job-a") == "cancelling"
    assert view_of(replace(JOB, epoch=2), *states(S.CANCELLED, S.PENDING), CANCEL).state("job-a") == "running"


def test_a_cancelled_job_does_not_wait_for_shards_of_others() -> None:
    view = view_of(job_of("job-b", A, B), *states(S.CANCELLED, S.PENDING), Order("job-b", OrderKind.CANCEL, 1, at=5))
    assert view.state("job-b") == "cancelled"


def test_the_ratio_is_weighted_by_rows_and_one_only_when_all_is_done() -> None:
    assert job_status(view_of(JOB, *states(S.DONE, S.RUNNING)), "job-a").ratio == 0.25
    assert job_status(view_of(JOB, *states(S.RUNNING, S.DONE)), "job-a").ratio == 0.75
    assert job_status(view_of(JOB, *states(S.DONE, S.DONE)), "job-a").ratio == 1.0
    assert job_status(view_of(JOB, progress_of(A, S.DONE)), "job-a").ratio < 1.0
    huge, tiny = replace(A, estimated_rows=2**62), replace(B, estimated_rows=0)
    view = view_of(job_of("job-a", huge, tiny), progress_of(huge, S.DONE), progress_of(tiny, S.FAILED))
    assert job_status(view, "job-a").ratio < 1.0


def test_an_empty_job_is_done_at_once() -> None:
    status = job_status(view_of(job_of("job-a")), "job-a")
    assert (status.state, status.ratio, status.shards) == ("done", 1.0, 0)


def test_a_shard_counts_in_every_job_that_lists_it() -> None:
    view = view_of(JOB, job_of("job-b", B), *states(S.PENDING, S.DONE))
    assert view.state("job-b") == "done"
    assert view.state("job-a") == "running"
    assert view.jobs_of(B.id) == ("job-a", "job-b")
    view.apply(progress_of(replace(B, epoch=2), S.PENDING, attempt=0))
    assert view.state("job-b") == "pending"


def test_rows_are_those_of_the_newest_records() -> None:
    view = view_of(JOB, progress_of(A, S.RUNNING, rows=10, sequence=1), progress_of(B, S.RUNNING, rows=5))
    view.apply(progress_of(A, S.DONE, rows=60, sequence=6))
    view.apply(progress_of(A, S.RUNNING, rows=20, sequence=2))  # late, and void
    status = job_status(view, "job-a")
    assert (status.rows, status.shards_by_state) == (65, {S.RUNNING: 1, S.DONE: 1})


def test_who_ends_a_shard_without_knowing_of_its_attempts_has_ended_it_for_this_epoch() -> None:
    view = view_of(job_of("job-a", A), progress_of(A, S.RUNNING, attempt=3, sequence=7))
    view.apply(progress_of(A, S.FAILED, attempt=0))
    view.apply(progress_of(A, S.RUNNING, attempt=4, sequence=8))  # late, and void
    assert job_status(view, "job-a").shards_by_state == {S.FAILED: 1}
    view.apply(progress_of(replace(A, epoch=2), S.PENDING, attempt=0))
    assert job_status(view, "job-a").shards_by_state == {S.PENDING: 1}


def test_a_record_says_something_new_once() -> None:
    view = View()
    for event in (JOB, progress_of(A, S.RUNNING), PAUSE):
        assert view.apply(event)
        assert not view.apply(event)
    assert not view.apply(progress_of(A, S.PENDING, attempt=0))


def test_leases_are_the_shards_that_run_and_know_when_they_were_last_heard_of() -> None:
    urgent = replace(shard_of("u"), urgent=True, partition=3)
    view = view_of(
        progress_of(A, S.RUNNING, at=1_000), progress_of(B, S.DONE), progress_of(urgent, S.RUNNING, at=5_000)
    )
    leases = view.leases(7_500)
    assert [(x.progress.shard.id, x.silence_ms) for x in leases] == [(urgent.id, 2_500), (A.id, 6_500)]
    assert [lease_status(x, "queue", 6_000).stalled for x in leases] == [False, True]
    assert view.leases(0)[0].silence_ms == 0  # a worker's clock may be ahead


def test_coverage_joins_what_is_done_and_tells_what_runs() -> None:
    c, d = shard_of("c", hour=2, symbols=("AAA", "BBB")), shard_of("d", hour=9)
    view = view_of(*states(S.DONE, S.DONE), progress_of(c, S.RUNNING), progress_of(d, S.FAILED))
    covered = view.coverage("bars")
    assert covered["AAA"] == ((Range(0, 2 * HOUR),), (Range(2 * HOUR, 3 * HOUR),))
    assert covered["BBB"] == ((), (Range(2 * HOUR, 3 * HOUR),))
    assert view.coverage("bars", ["BBB", "CCC"]) == {"BBB": covered["BBB"], "CCC": ((), ())}
    assert view.coverage("other") == {}


def test_pages_follow_each_other_in_the_order_of_ids() -> None:
    shards = [shard_of(f"{n:03d}", job="job-a" if n % 2 else "job-b", hour=n) for n in range(50)]
    odd = job_of("job-a", *(s for s in shards if s.job == "job-a"))
    view = view_of(odd, *(progress_of(s, S.DONE if n % 5 == 0 else S.PENDING) for n, s in enumerate(shards)))

    def pages(**which: object) -> list[Shard]:
        found: list[Shard] = []
        while page := view.shards(limit=7, after=found[-1].id if found else None, **which):  # type: ignore[arg-type]
            found += [p.shard for p in page]
        return found

    assert pages() == shards
    assert pages(job="job-a") == shards[1::2]
    assert pages(job="job-a", state=S.DONE) == shards[5::10]
    assert pages(state=S.DONE) == shards[::5]
    assert pages(job="job-x") == []


def test_jobs_come_newest_first_and_can_be_chosen() -> None:
    old, new = job_of("job-o", created_at=1), job_of("job-n", A, created_at=2, dataset="ticks")
    view = view_of(old, new)
    assert [j.id for j in view.jobs()] == ["job-n", "job-o"]
    assert [j.id for j in view.jobs(dataset="bars")] == ["job-o"]
    assert [j.id for j in view.jobs(state="pending")] == ["job-n"]
    assert view.datasets() == ["bars", "ticks"]


@pytest.mark.parametrize("state", [S.PARKED, S.CANCELLED])
def test_a_shard_that_ended_under_an_order_taken_back_is_stranded(state: ShardState) -> None:
    """The worker parked or ended it as it had not heard yet that the job goes on."""
    job = replace(JOB, epoch=2)
    view = view_of(job, *states(state, S.DONE), RESUME)
    assert [p.shard.id for p in view.stranded()] == [A.id]
    view.apply(Progress(replace(A, epoch=2, job_epoch=2)))
    assert view.stranded() == []
    view.apply(Order("job-a", OrderKind.CANCEL, 2, at=7))
    view.apply(progress_of(replace(A, epoch=2, job_epoch=2), S.CANCELLED))
    assert view.stranded() == []


def test_moments_keep_their_microseconds() -> None:
    ns = 1_700_000_000_123_456_000
    assert nanoseconds(moment(ns)) == ns
    assert nanoseconds(moment(ns + 999)) == ns
