"""A request, against what there is already: which shards to queue, and the job that counts them. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from coordinator.decisions import AGAIN, Author, in_force, renewed, requeue
from coordinator.orders import Order, OrderKind, applies
from coordinator.plan import BackfillPlan, Estimate, plan
from coordinator.protocol import BackfillRejected, BackfillRequest
from coordinator.ranges import Range, intersection, normalised, subtracted
from coordinator.records import Event
from coordinator.shards import Job, Progress, Shard, ShardState, job_id, shard_id
from coordinator.status import nanoseconds
from coordinator.view import View
from streams.settings import DatasetSettings

__all__ = ["Asked", "Known", "Outcome", "cut", "known", "narrowed", "outcome"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with all that it leaves to the settings and the registry; times in nanoseconds since the epoch."""

    request: BackfillRequest
    wanted: DatasetSettings
    source: str
    contract_version: int
    partitions: int
    author: Author
    estimate: Estimate | None = None

    @property
    def symbols(self) -> tuple[str, ...]:
        """Sorted, each once."""
        return tuple(sorted(set(self.request.symbols)))

    @property
    def range(self) -> Range:
        """What is asked for."""
        return Range(nanoseconds(self.request.start), nanoseconds(self.request.end))

    @property
    def as_of(self) -> int | None:
        """Milliseconds since the epoch; None if the request named no moment."""
        return None if self.request.as_of is None else nanoseconds(self.request.as_of) // 1_000_000

    @property
    def job(self) -> str:
        """The id that equal requests share."""
        dataset, range_ = self.request.dataset, self.range
        return job_id(dataset, self.symbols, range_.start, range_.end, self.source, self.as_of, self.contract_version)


@dataclass(frozen=True, slots=True)
class Known:
    """What the view knows that bears on a request.

    Attributes:
        job: the same request, made before.
        order: what was ordered about that and holds.
        own: the shards that it counts.
        others: shards of other jobs that fetch, or have fetched, part of the same, by time.
    """

    job: Job | None
    order: Order | None
    own: tuple[Progress, ...]
    others: tuple[Progress, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a request.

    Attributes:
        job: as it is, or will be.
        shards: all that it counts, as they are or will be.
        created: whether the job is new.
        queued: how many shards are queued for it now.
        events: what has to be written; nothing if all is as wished.
        reason: why nothing is queued; None if something is.
    """

    job: Job
    shards: tuple[Progress, ...]
    created: bool
    queued: int
    events: tuple[Event, ...]
    reason: str | None

    @property
    def to_queue(self) -> list[Progress]:
        """The shards that are queued now, by time."""
        queued = [event for event in self.events if isinstance(event, Progress)]
        return sorted(queued, key=_by_time)


def known(view: View, asked: Asked) -> Known:
    """Look up what may bear on a request: all that has to be done while the view is held still."""
    job = view.job(asked.job)
    own = () if job is None else tuple(view.shards_of(job.id))
    counted = {p.shard.id for p in own}
    symbols, range_ = set(asked.symbols), asked.range
    others = [
        p
        for p in view.dataset(asked.request.dataset)
        if p.state not in AGAIN
        and p.shard.start < range_.end
        and range_.start < p.shard.end
        and p.shard.id not in counted
        and not symbols.isdisjoint(p.shard.symbols)
        and not _given_up(view, p)
    ]
    others.sort(key=_by_time)  # the view has them in no order, and equal requests make equal jobs
    return Known(job, None if job is None else in_force(view, job), own, tuple(others))


def narrowed(asked: Asked, there: Known) -> Known:
    """Leave out the shards of other jobs that fetch from elsewhere, or nothing that is still wanted."""
    have = _ranges_of(there.own, asked)
    wanted = [asked.range]

    def helps(shard: Shard) -> bool:
        piece = intersection([Range(shard.start, shard.end)], wanted)
        return any(s not in have or subtracted(piece, have[s]) for s in shard.symbols if s in symbols)

    symbols = set(asked.symbols)
    return replace(there, others=tuple(p for p in there.others if _alike(p.shard, asked) and helps(p.shard)))


def cut(asked: Asked, there: Known) -> BackfillPlan:
    """Cut what nobody fetches and the caller does not have.

    Raises:
        BackfillRejected: if the request makes no sense.
    """
    now = asked.author.at
    if asked.as_of is not None and asked.as_of > now:
        raise BackfillRejected("as_of is in the future: name a moment that has been, or none for newest", field="as_of")
    return plan(
        asked.request.dataset,
        asked.symbols,
        asked.range,
        _ranges_of((*there.own, *there.others), asked),
        asked.source,
        asked.as_of,
        asked.request.target_rows,
        interval_ns=asked.wanted.interval_ns(),
        calendar=asked.wanted.calendar,
        contract_version=asked.contract_version,
        partitions=asked.partitions,
        now_ns=(now + 1) * 1_000_000 - 1,  # the last instant of this millisecond: what has just been is no future
        urgent=asked.request.urgent,
        known=asked.wanted.symbols,
        estimate=asked.estimate,
    )


def outcome(asked: Asked, there: Known, planned: BackfillPlan, existing: Mapping[str, Progress]) -> Outcome:
    """Return what a request comes to.

    Args:
        existing: those of the planned shards that were queued before: they failed, or their job was cancelled.
    """
    bad = [p for p in there.own if p.state in AGAIN]
    held = there.order is not None and there.order.order in (OrderKind.CANCEL, OrderKind.PAUSE)
    cancelled = there.order is not None and there.order.order is OrderKind.CANCEL
    if not (there.job is None or planned.shards or there.others or bad or cancelled):
        return Outcome(there.job, there.own, False, 0, (), _reason(there, planned, asked))
    job = _job(asked, there, planned)
    events: list[Event] = [job]
    if held:
        # Asked for anew, it goes on as a whole.
        events.append(asked.author.order(there.order, job.id, OrderKind.RESUME, job.epoch))
        bad += [p for p in there.own if p.state is ShardState.PARKED and p.shard.job == job.id]
    counted = {p.shard.id: p for p in (*existing.values(), *there.others, *there.own)}
    bad += [p for p in existing.values() if p.state in AGAIN]
    for shard in planned.shards:
        if shard.id not in existing:
            fresh = replace(shard, job_epoch=job.epoch)
            events += [fresh, Progress(fresh, at=asked.author.at)]
    events += requeue(bad, job, asked.author.at)
    counted |= {event.shard.id: event for event in events if isinstance(event, Progress)}
    shards = tuple(counted[name] for name in job.shards if name in counted)
    queued = sum(isinstance(event, Shard) for event in events)
    reason = None if queued else _reason(there, planned, asked)
    return Outcome(job, shards, there.job is None, queued, tuple(events), reason)


def _job(asked: Asked, there: Known, planned: BackfillPlan) -> Job:
    """Return the job that counts what it counted, what is planned, and what others fetch of it."""
    more = [p.shard for p in there.others] + list(planned.shards)
    ids = dict.fromkeys([*(there.job.shards if there.job else ()), *(shard.id for shard in more)])
    rows = sum(shard.estimated_rows for shard in more)
    if there.job is not None:
        return replace(renewed(there.job), shards=tuple(ids), estimated_rows=there.job.estimated_rows + rows)
    request, author = asked.request, asked.author
    return Job(
        id=asked.job,
        epoch=1,
        dataset=request.dataset,
        symbols=asked.symbols,
        start=asked.range.start,
        end=asked.range.end,
        interval=asked.wanted.interval,
        source=asked.source,
        as_of=author.at if asked.as_of is None else asked.as_of,
        contract_version=asked.contract_version,
        urgent=request.urgent,
        shards=tuple(ids),
        estimated_rows=rows,
        requested_by=request.requested_by or author.by,
        created_at=author.at,
    )


def _by_time(progress: Progress) -> tuple[int, tuple[str, ...]]:
    return progress.shard.start, progress.shard.symbols


def _reason(there: Known, planned: BackfillPlan, asked: Asked) -> str | None:
    """Return why nothing is queued."""
    if there.order is not None and there.order.order is OrderKind.CANCEL:
        return "its shards have not ended yet; those that end as cancelled are queued again"
    if there.own:
        queue = ", in the ordinary queue" if there.job and asked.request.urgent and not there.job.urgent else ""
        return f"it was requested before, and all of it is fetched or on its way{queue}"
    if there.others:
        return "other jobs have fetched all of it, or are about to"
    return planned.reason


def _ranges_of(shards: Iterable[Progress], asked: Asked) -> dict[str, tuple[Range, ...]]:
    """Return what shards fetch and the caller has, by symbol."""
    found: defaultdict[str, list[Range]] = defaultdict(list)
    for progress in shards:
        piece = Range(progress.shard.start, progress.shard.end)
        for symbol in progress.shard.symbols:
            found[symbol].append(piece)
    for symbol, ranges in asked.request.covered.items():
        found[symbol] += [Range(nanoseconds(r.start), nanoseconds(r.end)) for r in ranges]
    return {symbol: normalised(ranges) for symbol, ranges in found.items()}


def _alike(shard: Shard, asked: Asked) -> bool:
    """Whether a shard fetches from the same source, as of the same moment as requested, under the same contract.

    A record says only which moment "newest" was; its id says what was asked for.
    """
    if (shard.source, shard.contract_version) != (asked.source, asked.contract_version):
        return False
    return shard.id == shard_id(
        shard.dataset, shard.symbols, shard.start, shard.end, shard.source, asked.as_of, shard.contract_version
    )


def _given_up(view: View, progress: Progress) -> bool:
    """Whether a shard is about to end without being done."""
    orders = (view.order(progress.shard.id), view.order(progress.shard.job))
    gives_up = (OrderKind.CANCEL, OrderKind.SKIP)
    return any(o is not None and o.order in gives_up and applies(o, progress.shard, None) for o in orders) and (
        progress.state is not ShardState.DONE
    )
