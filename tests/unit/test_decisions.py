"""What is written when somebody asks for something, and that asking again writes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coordinator import decisions
from coordinator.decisions import Author
from coordinator.orders import Order, OrderKind, applies
from coordinator.protocol import BackfillRejected, BackfillRequest, NotFound, TimeRange
from coordinator.records import Event
from coordinator.requests import Asked, Outcome, cut, known, narrowed, outcome
from coordinator.shards import Job, Progress, Shard, ShardState
from coordinator.view import View
from streams.settings import DatasetSettings
from tests.support.backfills import job_of, progress_of, shard_of

S = ShardState
ME = Author("me", 10_000)
NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)
NOW_MS = int(datetime(2024, 6, 1, tzinfo=UTC).timestamp() * 1_000)
BARS = DatasetSettings(contract="ohlcv", interval="1m", calendar="24/7", source="files:bars")


def apply(view: View, events: list[Event] | tuple[Event, ...]) -> list[Event]:
    for event in events:
        view.apply(event)
    return list(events)


def ask(
    view: View, *, hours: tuple[int, int] = (0, 4), at: int = NOW_MS, wanted: DatasetSettings = BARS, **changes: Any
) -> Outcome:
    """Request bars of some hours, in shards of an hour of a symbol, and write what comes of it."""
    values: dict[str, Any] = {
        "dataset": "bars",
        "symbols": ("AAA",),
        "start": NOON + timedelta(hours=hours[0]),
        "end": NOON + timedelta(hours=hours[1]),
        "target_rows": 60,
    }
    request = BackfillRequest(**{**values, **changes})
    asked = Asked(request, wanted, request.source or "files:bars", 1, 6, Author("me", at))
    there = narrowed(asked, known(view, asked))
    planned = cut(asked, there)
    existing = {s.id: p for s in planned.shards if (p := view.shard(s.id)) is not None}
    found = outcome(asked, there, planned, existing)
    apply(view, found.events)
    return found


def work(view: View, *states: ShardState) -> None:
    """Let workers bring the shards, by time, to these states."""
    shards = sorted(view.shards(limit=100), key=lambda p: p.shard.start)
    for progress, state in zip(shards, states, strict=False):
        if progress.state is not state:
            view.apply(replace(progress, state=state, attempt=progress.attempt + 1, at=progress.at + 1, cursor="here"))


def counts(view: View, job: str) -> dict[ShardState, int]:
    return view.tally(job).by_state()


def test_the_same_request_again_writes_nothing() -> None:
    view = View()
    first = ask(view)
    assert (first.created, first.queued, len(first.job.shards)) == (True, 4, 4)
    work(view, S.DONE, S.RUNNING)
    again = ask(view, at=NOW_MS + 60_000)
    assert (again.created, again.queued, again.events) == (False, 0, ())
    assert again.job == first.job
    assert again.reason


def test_a_request_that_became_urgent_later_is_told_that_it_waits_in_the_ordinary_queue() -> None:
    view = View()
    ask(view)
    assert "ordinary queue" in (ask(view, urgent=True).reason or "")


def test_a_symbol_that_the_dataset_does_not_have_is_refused_by_name() -> None:
    listed = BARS.model_copy(update={"symbols": ("AAA", "BBB")})
    assert ask(View(), wanted=listed, symbols=("AAA",)).created
    with pytest.raises(BackfillRejected, match="unknown: ZZZ"):
        ask(View(), wanted=listed, symbols=("AAA", "ZZZ"))


def test_every_event_of_a_new_job_names_it_and_its_first_epoch() -> None:
    found = ask(View())
    shards = [e for e in found.events if isinstance(e, Shard)]
    pending = [e for e in found.events if isinstance(e, Progress)]
    assert [e for e in found.events if isinstance(e, Job)] == [found.job]
    assert [p.shard for p in pending] == shards
    assert {(s.job, s.job_epoch, s.epoch) for s in shards} == {(found.job.id, 1, 1)}
    assert found.job.shards == tuple(s.id for s in shards)


def test_an_overlapping_request_plans_the_rest_and_counts_the_shards_of_the_other() -> None:
    view = View()
    one = ask(view, hours=(0, 4))
    work(view, S.DONE)
    two = ask(view, hours=(2, 6))
    assert (two.queued, len(two.job.shards)) == (2, 4)
    assert set(two.job.shards) & set(one.job.shards) == set(one.job.shards[2:])
    assert ask(view, hours=(2, 6)).events == ()
    assert ask(view, hours=(0, 4)).events == ()
    inside = ask(view, hours=(1, 3))
    assert (inside.created, inside.queued, len(inside.job.shards)) == (True, 0, 2)
    assert inside.reason
    assert inside.job.shards == one.job.shards[1:3]


def test_another_source_contract_or_moment_shares_nothing() -> None:
    view = View()
    ask(view)
    assert ask(view, source="files:other").queued == 4
    assert ask(view, as_of=datetime(2024, 3, 1, tzinfo=UTC)).queued == 4
    assert ask(view, as_of=datetime(2024, 3, 1, tzinfo=UTC)).queued == 0
    assert len({p.shard.id for p in view.shards(limit=100)}) == 12


def test_what_the_caller_has_is_not_planned_but_is_when_it_asks_without() -> None:
    view = View()
    has = TimeRange(start=NOON, end=NOON + timedelta(hours=3))
    first = ask(view, covered={"AAA": (has,)})
    assert (first.queued, len(first.job.shards)) == (1, 1)
    assert ask(view, covered={"AAA": (has,)}).events == ()
    more = ask(view)
    assert (more.job.id, more.created, more.queued) == (first.job.id, False, 3)
    assert len(more.job.shards) == 4
    assert ask(view).events == ()


def test_an_empty_request_makes_a_job_that_is_done_and_says_why() -> None:
    view = View()
    all_of_it = TimeRange(start=NOON, end=NOON + timedelta(hours=4))
    found = ask(view, covered={"AAA": (all_of_it,)})
    assert (found.created, found.queued, view.state(found.job.id)) == (True, 0, "done")
    assert found.reason
    assert "covered" in found.reason


def test_what_failed_was_skipped_or_cancelled_is_queued_again_from_its_cursor() -> None:
    view = View()
    first = ask(view)
    work(view, S.DONE, S.FAILED, S.SKIPPED, S.RUNNING)
    again = ask(view)
    assert (again.created, again.queued, again.job.epoch) == (False, 2, 2)
    queued = [e for e in again.events if isinstance(e, Shard)]
    assert {(s.epoch, s.job_epoch, s.cursor) for s in queued} == {(2, 2, "here")}
    assert counts(view, first.job.id) == {S.PENDING: 2, S.RUNNING: 1, S.DONE: 1}
    assert ask(view).events == ()


def test_a_failed_shard_of_another_job_is_queued_in_a_new_epoch_and_for_the_new_job() -> None:
    view = View()
    one = ask(view, hours=(0, 2))
    work(view, S.DONE, S.FAILED)
    two = ask(view, hours=(1, 2))
    (queued,) = [e for e in two.events if isinstance(e, Shard)]
    assert queued.id == one.job.shards[1]
    assert (queued.epoch, queued.job, queued.job_epoch) == (2, two.job.id, 1)
    assert counts(view, one.job.id) == {S.PENDING: 1, S.DONE: 1}


def test_a_cancelled_job_that_is_requested_again_goes_on_and_is_not_reached_by_the_cancellation() -> None:
    view = View()
    job = ask(view).job.id
    work(view, S.DONE, S.RUNNING)
    apply(view, decisions.cancel(view, job, Author("me", NOW_MS)))
    assert view.state(job) == "cancelling"
    assert decisions.cancel(view, job, ME) == []
    order = view.order(job)
    assert order
    assert all(applies(order, p.shard, None) for p in view.shards_of(job))
    work(view, S.DONE, S.CANCELLED, S.CANCELLED, S.RUNNING)
    again = ask(view)
    assert (again.created, again.queued, view.state(job)) == (False, 2, "running")
    assert not any(applies(order, e, None) for e in again.events if isinstance(e, Shard))
    # the worker of the fourth had not heard yet
    work(view, S.DONE, S.PENDING, S.PENDING, S.CANCELLED)
    mended = apply(view, decisions.mend(view, ME))
    assert [type(e) for e in mended] == [Shard, Progress]
    assert counts(view, job) == {S.PENDING: 3, S.DONE: 1}
    assert decisions.mend(view, ME) == []


def test_a_cancelled_job_does_not_cover_what_another_asks_for() -> None:
    view = View()
    one = ask(view, hours=(0, 4))
    apply(view, decisions.cancel(view, one.job.id, ME))
    work(view, S.DONE, S.CANCELLED, S.CANCELLED, S.CANCELLED)
    assert ask(view, hours=(0, 6)).queued == 5


def test_cancelling_ends_what_is_parked_at_once() -> None:
    view = View()
    job = ask(view).job.id
    apply(view, decisions.pause(view, job, Author("me", NOW_MS)))
    work(view, S.DONE, S.PARKED, S.PARKED, S.PARKED)
    assert view.state(job) == "paused"
    apply(view, decisions.cancel(view, job, Author("me", 0)))  # a clock that is behind
    assert view.state(job) == "cancelled"
    assert decisions.cancel(view, job, ME) == []


def test_pause_and_resume_take_shards_out_of_the_queue_and_put_them_back() -> None:
    view = View()
    job = ask(view).job.id
    (pause,) = apply(view, decisions.pause(view, job, Author("me", NOW_MS)))
    assert decisions.pause(view, job, ME) == []
    work(view, S.RUNNING, S.PARKED)
    assert view.state(job) == "paused"
    resumed = apply(view, decisions.resume(view, job, Author("me", 0)))  # a clock that is behind
    assert decisions.resume(view, job, ME) == []
    (queued,) = [e for e in resumed if isinstance(e, Shard)]
    assert (queued.epoch, queued.cursor) == (2, "here")
    assert isinstance(pause, Order)
    assert not applies(pause, queued, None)  # by a worker that has not heard yet
    assert view.state(job) == "running"
    work(view, S.PARKED)  # by such a worker
    assert view.state(job) == "running"
    assert len(decisions.mend(view, ME)) == 2


def test_a_paused_job_that_is_requested_again_stays_paused() -> None:
    view = View()
    job = ask(view).job.id
    apply(view, decisions.pause(view, job, ME))
    assert ask(view).events == ()
    assert view.state(job) == "paused"


@pytest.mark.parametrize("state", [S.DONE, S.FAILED, S.CANCELLED, S.SKIPPED])
def test_only_what_goes_on_can_be_paused_or_skipped(state: ShardState) -> None:
    view = View()
    a = shard_of("a")
    apply(view, [job_of("job-a", a), progress_of(a, state)])
    with pytest.raises(BackfillRejected):
        decisions.pause(view, "job-a", ME)
    with pytest.raises(BackfillRejected):
        decisions.skip(view, a.id, ME)
    assert decisions.cancel(view, "job-a", ME) == []


@pytest.mark.parametrize("state", [S.PENDING, S.RUNNING, S.DONE, S.PARKED])
def test_only_what_ended_badly_can_be_tried_again(state: ShardState) -> None:
    view = View()
    a = shard_of("a")
    apply(view, [job_of("job-a", a), progress_of(a, state)])
    with pytest.raises(BackfillRejected):
        decisions.retry(view, a.id, ME)


def test_a_shard_of_a_cancelled_job_can_be_tried_again_alone() -> None:
    view = View()
    job = ask(view).job.id
    apply(view, decisions.cancel(view, job, ME))
    work(view, *[S.CANCELLED] * 4)
    order, first = view.order(job), view.job(job)
    assert order
    assert first
    events = apply(view, decisions.retry(view, first.shards[0], ME))
    (queued,) = [e for e in events if isinstance(e, Shard)]
    assert not applies(order, queued, None)
    assert decisions.mend(view, ME) == []
    assert counts(view, job) == {S.PENDING: 1, S.CANCELLED: 3}


def test_a_release_names_the_epoch_and_attempt_that_run() -> None:
    view = View()
    a = shard_of("a", epoch=2)
    apply(view, [job_of("job-a", a), progress_of(a, S.RUNNING, attempt=3)])
    lease, events = decisions.release(view, a.partition, False, ME)
    assert lease.progress.shard == a
    assert events == [Order(a.id, OrderKind.RELEASE, 2, 3, "me", None, 10_000)]
    apply(view, events)
    assert decisions.release(view, a.partition, False, ME)[1] == []
    with pytest.raises(NotFound):
        decisions.release(view, a.partition, True, ME)
    with pytest.raises(NotFound):
        decisions.release(view, a.partition + 1, False, ME)


def test_a_parked_shard_is_skipped_at_once_and_others_by_an_order() -> None:
    view = View()
    a, b = shard_of("a"), shard_of("b")
    apply(view, [job_of("job-a", a, b), progress_of(a, S.PARKED), progress_of(b, S.RUNNING)])
    (ended,) = apply(view, decisions.skip(view, a.id, Author("me", 0)))
    assert isinstance(ended, Progress)
    assert counts(view, "job-a") == {S.RUNNING: 1, S.SKIPPED: 1}
    (order,) = apply(view, decisions.skip(view, b.id, ME))
    assert isinstance(order, Order)
    assert decisions.skip(view, b.id, ME) == []


def test_who_or_what_is_not_there_is_not_found() -> None:
    for decide in (decisions.cancel, decisions.pause, decisions.resume, decisions.skip, decisions.retry):
        with pytest.raises(NotFound):
            decide(View(), "job-x", ME)


def test_an_as_of_in_the_future_is_refused() -> None:
    with pytest.raises(BackfillRejected) as refusal:
        ask(View(), as_of=datetime(2030, 1, 1, tzinfo=UTC))
    assert refusal.value.field == "as_of"


def test_what_has_ended_just_now_is_no_future() -> None:
    end = datetime.fromtimestamp(NOW_MS / 1_000, UTC) + timedelta(microseconds=999)
    assert ask(View(), start=end - timedelta(hours=1), end=end).queued > 0
