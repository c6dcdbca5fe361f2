"""Records in any order, and any number of times, give the same view."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from coordinator.orders import Order, OrderKind
from coordinator.shards import Job, Progress, ShardState
from coordinator.status import job_status, shard_status
from coordinator.view import View
from tests.support.backfills import job_of, progress_of, shard_of
from tests.support.examples import examples

SHARDS = [shard_of(str(n), job=f"job-{n % 2}", hour=n, estimated_rows=10 * n) for n in range(5)]


@st.composite
def histories(draw: st.DrawFn) -> list[Job | Progress | Order]:
    """What the topics may hold: no two records about the same thing stand at the same place."""
    events: list[Job | Progress | Order] = []
    for shard in SHARDS:
        places = draw(st.sets(st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 3)), max_size=6))
        for epoch, attempt, sequence in sorted(places):
            state = draw(st.sampled_from(ShardState))
            queued = replace(shard, epoch=epoch, job_epoch=epoch)
            events.append(progress_of(queued, state, attempt=attempt, sequence=sequence, rows=10 * sequence))
    for name in ("job-0", "job-1"):
        for epoch in draw(st.sets(st.integers(1, 3))):
            listed = draw(st.lists(st.sampled_from(SHARDS), unique_by=lambda s: s.id))
            events.append(job_of(name, *listed, epoch=epoch))
    for at in draw(st.sets(st.integers(1, 5))):
        kind = draw(st.sampled_from([OrderKind.PAUSE, OrderKind.CANCEL, OrderKind.RESUME]))
        events.append(Order(draw(st.sampled_from(["job-0", "job-1"])), kind, draw(st.integers(1, 3)), at=at))
    return events


def everything(view: View) -> object:
    shards = view.shards(limit=100)
    return (
        [shard_status(p) for p in shards],
        [job_status(view, job.id) for job in view.jobs()],
        view.leases(9_000),
        view.coverage("bars"),
        sorted(p.shard.id for p in view.stranded()),
        {state: view.in_state(state) for state in ShardState},
        {p.shard.id: sorted(view.jobs_of(p.shard.id)) for p in shards},
    )


def view_of(events: list[Job | Progress | Order]) -> View:
    view = View()
    for event in events:
        view.apply(event)
    return view


@examples(50)
@given(histories(), st.randoms(use_true_random=False))
def test_any_order_and_any_repetition_give_the_same_view(events: list[Job | Progress | Order], chance: Random) -> None:
    shuffled = events + [chance.choice(events) for _ in events]
    chance.shuffle(shuffled)
    assert everything(view_of(shuffled)) == everything(view_of(events))


@examples(50)
@given(histories())
def test_what_is_kept_up_to_date_is_what_counting_anew_gives(events: list[Job | Progress | Order]) -> None:
    view = view_of(events)
    for job in view.jobs():
        status, shards = job_status(view, job.id), list(view.shards_of(job.id))
        assert status.rows == sum(p.rows for p in shards)
        assert sum(status.shards_by_state.values()) == len(job.shards)
        for state in ShardState:
            if state is not ShardState.PENDING:
                assert status.shards_by_state.get(state, 0) == sum(p.state is state for p in shards)
        everything_done = len(shards) == len(job.shards) and all(p.state is ShardState.DONE for p in shards)
        assert (status.ratio == 1.0) == everything_done == (status.state == "done")
