"""The backfill of the demo: asked for, filled by three workers of which one is killed, and proven."""

from __future__ import annotations

import signal
from contextlib import closing
from datetime import datetime
from time import sleep

import polars as pl

from coordinator.lease_log import explain_shard
from coordinator.local import LocalBackfillCoordinator
from coordinator.protocol import BackfillRequest
from coordinator.shards import ShardState
from coordinator.verify import Verdict, verify
from operations.stack.settings import BROKER_SETTINGS
from streams import topics
from streams.clock import Deadline, monotonic, now_ms
from streams.demo.crew import Crew
from streams.demo.failed import DemoFailed
from streams.demo.filling import Filling, Kill, cursor_of, label, still_half_done, victim
from streams.demo.hole import HOLE, HOME, SHARD_BARS
from streams.demo.picture import grid, moving
from streams.demo.place import DATASET, Place
from streams.demo.show import Show
from streams.settings import Settings

__all__ = ["fill", "muster", "plan", "prove"]

_FILLED_SECONDS = 180.0
_LOOK_SECONDS = 0.1
_SETTLED_SECONDS = 0.15  # what was committed before is known by then
_MOST_SHARDS = 1_000
_SESSION_SECONDS = int(BROKER_SETTINGS["group.consumer.session.timeout.ms"]) / 1_000
_ENDED = {"done", "failed", "incomplete", "cancelled"}


def plan(show: Show, coordinator: LocalBackfillCoordinator, market: pl.DataFrame) -> BackfillRequest:
    """Show what it takes to fill the hole; return the request.

    Raises:
        BackfillRejected, CoordinatorUnavailable: as a coordinator may answer.
    """
    show.step(
        "A backfill is planned",
        "The calendar says which bars were due, so what is missing is known without asking anybody. It is cut into "
        "shards. They will come from a file of the vendor's, through the same contract as live rows.",
    )
    symbols = HOLE.symbols(market)
    request = BackfillRequest(
        dataset=DATASET,
        symbols=symbols,
        start=HOLE.start_time,
        end=HOLE.end_time,
        target_rows=SHARD_BARS,
        requested_by="demo",
    )
    with show.busy("planning"):
        planned = coordinator.plan(request)
    job = planned.job
    show.done(f"{job.estimated_rows:,} bars of {', '.join(symbols)} are due from {HOLE.first} up to {HOLE.end}")
    show.done(f"{planned.queued} shards of about {SHARD_BARS} bars would be queued:")
    show.command(
        f"seamless backfill plan {DATASET} --symbols {','.join(symbols)} --start {HOLE.first} --end {HOLE.end} "
        f"--target-rows {SHARD_BARS}"
    )
    return request


def muster(show: Show, settings: Settings, crew: Crew) -> None:
    """Wait until all workers are there, and share the queue; see `Crew.await_members`."""
    show.step(
        "Three workers, of which one is killed",
        "Kafka is the coordinator: a partition of the queue, assigned, is the lease of its next shard. Rows, progress "
        "and the cursor in the group's offset are one transaction, under the token of the lease.",
    )
    with show.busy("workers start"):
        share = crew.await_members(settings, topics.backfill_shards(settings.world))
    for hand in crew.hands:
        show.done(f"{hand.name} is process {hand.process.pid}, with {share} partitions of the queue", "seamless worker")


def fill(show: Show, coordinator: LocalBackfillCoordinator, request: BackfillRequest, crew: Crew) -> Filling:
    """Ask for the hole to be filled, watch it, kill a worker half way, and return how it went.

    Raises:
        DemoFailed: if they do not get there in time, or one ends that nobody killed.
        CoordinatorUnavailable: if the topics cannot be read.
    """
    planned = coordinator.request(request)
    show.done(f"{planned.queued} shards are queued as {planned.job.id}", "seamless backfill request")
    filling, began, deadline = Filling(planned.job, crew.numbers), monotonic(), Deadline(_FILLED_SECONDS)
    with closing(coordinator.watch(planned.job.id)) as watch, show.live() as draw:
        while filling.job.state not in _ENDED or not (filling.kill is None or filling.takeover):
            look_at = Deadline(_LOOK_SECONDS)
            while not look_at.passed():
                event = watch.get(look_at.left())
                takeover = filling.hear(event) if event is not None else None
                if takeover is not None:
                    _tell_takeover(show, filling)
            _look(coordinator, filling, monotonic() - began)
            if filling.kill is None and _kill_one(coordinator, crew, filling):
                _tell_kill(show, filling)
            draw(moving(filling, show.width))
            crew.require_alive()
            if deadline.passed():
                raise DemoFailed(f"{filling.job.id} is {filling.job.state} after {deadline.seconds:g} s")
    show.draw(grid(filling, show.width))
    show.done(
        f"ratio {filling.job.ratio}: {filling.count(ShardState.DONE)} of {filling.job.shards} shards, "
        f"{filling.job.rows:,} rows",
        f"{filling.seconds:.1f} s",
    )
    return filling


def _look(coordinator: LocalBackfillCoordinator, filling: Filling, seconds: float) -> None:
    name = filling.job.id
    leases = coordinator.leases() if filling.kill is not None else []
    shards = coordinator.shards(job=name, limit=_MOST_SHARDS).items
    filling.look(coordinator.job(name), shards, leases, seconds)


def _kill_one(coordinator: LocalBackfillCoordinator, crew: Crew, filling: Filling) -> bool:
    """Kill a worker in the middle of a shard, if it is time; return whether it was."""
    held = victim(filling)
    if held is None:
        return False
    hand = crew.of(held.host)
    # It is stopped for a moment first: so what it holds, and how far it is, can be told for certain.
    hand.process.send(signal.SIGSTOP)
    sleep(_SETTLED_SECONDS)
    shard = coordinator.shard(held.id)
    if not still_half_done(shard, held):
        hand.process.send(signal.SIGCONT)
        return False
    lease = next(lease for lease in coordinator.leases() if lease.shard == shard.id)
    rows, newest = cursor_of(lease)
    filling.kill = Kill(hand.number, hand.process.pid, shard, filling.share(), rows, newest, now_ms(), filling.seconds)
    crew.kill(hand)
    return True


def _tell_kill(show: Show, filling: Filling) -> None:
    kill = filling.kill
    if kill is None:
        return
    show.event(
        "†",
        f"worker {kill.number} is killed with SIGKILL at {kill.share:.0%}, in the middle of {label(kill.shard)}",
        f"kill -9 {kill.pid}",
    )
    show.draw(grid(filling, show.width))
    show.remark(
        f"{kill.rows} of its {kill.shard.estimated_rows} rows are committed, up to {_day(kill.newest)}; of the chunk "
        "that it was at there is nothing. The group waits for it until its session ends, "
        f"{_SESSION_SECONDS:g}\u00a0s after its last heartbeat (45 s by Kafka's default), and the two others work on."
    )


def _tell_takeover(show: Show, filling: Filling) -> None:
    kill, takeover = filling.kill, filling.takeover
    if kill is None or takeover is None:
        return
    show.done(
        f"worker {takeover.number} took over {label(kill.shard)} {takeover.seconds:.1f} s after the kill, and goes on "
        f"at the cursor: behind row {takeover.rows}, {_day(kill.newest)}"
    )


def _day(bar: datetime) -> str:
    return f"{bar.astimezone(HOME):%Y-%m-%d}"


def prove(
    show: Show, place: Place, settings: Settings, coordinator: LocalBackfillCoordinator, filling: Filling
) -> Verdict:
    """Prove from the topics that every row was written exactly once, and keep the proof."""
    show.step(
        "The proof",
        "The history topic is read from end to end and held against what was planned and counted: each row is there, "
        "once, in its place, and nothing else is. The proof of each shard hangs under one root hash.",
    )
    with show.busy("reading history"):
        verdict = verify(settings, coordinator, filling.job.id)
    for problem in verdict.problems:
        show.wrong(f"{problem.kind}: {problem.shard} {problem.text}")
    if verdict.certificate is not None:
        verdict.certificate.write(place.certificate)
        show.done(
            f"{verdict.shards} shards, {verdict.rows:,} rows, each exactly once",
            f"seamless backfill verify {filling.job.id}",
        )
        show.done(f"root {verdict.certificate.root}", f"seamless backfill verify --check {place.certificate.name}")
    if filling.kill is not None:
        shard = filling.kill.shard
        with show.busy("reading the log of leases"):
            steps = explain_shard(settings, shard.id).steps
        show.done(f"who held {label(shard)}", f"seamless backfill explain {shard.id}")
        for step in steps:
            show.remark(filling.named(step.text))
    return verdict
