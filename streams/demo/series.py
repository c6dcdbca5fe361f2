"""The end of the demo: one series out of archive, Kafka and backfill in one call, then live bars across the seam."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from time import sleep

import polars as pl

from operations.stack.processes import ProcessRef, tail
from streams.archive.fingerprint import Fingerprint
from streams.archive.reader import ArchiveReader, plain_table
from streams.clock import Deadline, monotonic
from streams.demo.checks import Facts
from streams.demo.failed import DemoFailed
from streams.demo.market import NEW_SESSIONS
from streams.demo.place import DATASET, Place
from streams.demo.show import Show
from streams.demo.strategy import MovingAverages
from streams.producer import GovernedProducer
from streams.provider.provider import Provider
from streams.provider.result import FetchResult
from streams.provider.stream import Stream
from streams.settings import Settings
from streams.sla_policy import SLAPolicy

__all__ = ["Series", "next_sessions", "one_series"]

_ARCHIVED_SECONDS = _LIVE_SECONDS = 60.0
_STOP_SECONDS = 20.0
_LOG_LINES = 15
_AT_ONCE = 5_000
_LOOK_SECONDS = 0.1
_SATURDAY = 5
_FROM, _UNTIL, _NEW_UNTIL = "2000-01-01", "2013-03-02", "2013-03-07"
# Of thirteen years, two of the five were listed for part only: what no source has is no fault of anybody's.
_POLICY = SLAPolicy(min_coverage=0.7, max_wait_backfill="40s", total_deadline="60s")


@dataclass(frozen=True)
class Series:
    """What the strategy got.

    Attributes:
        fetched: thirteen years, in one call.
        streamed: the same and the live bars, as a stream gave them.
        seam: how many rows had come when the live bars were sent.
        again: a fetch of all of it, afterwards.
        fingerprint: of what the stream gave, in a fetch's order.
        late: rows that the stream gave out of order, or not at all.
    """

    fetched: FetchResult
    streamed: pl.DataFrame
    seam: int
    again: FetchResult
    fingerprint: str
    late: int

    def facts(self, market: pl.DataFrame) -> Facts:
        """Return what is checked of it."""
        averages = MovingAverages(1, 2)
        averages.take(self.fetched.frame)
        return {
            ("one series", "bars in one call"): self.fetched.frame.height,
            ("one series", "closes not the vendor's"): averages.unlike(market),
            ("one series", "bars before the seam"): self.seam,
            ("one series", "bars behind it"): self.streamed.height - self.seam,
            ("one series", "bars twice"): int(self.streamed.select("symbol", "event_time").is_duplicated().sum()),
            ("one series", "bars late"): self.late,
            ("one series", "bars of a later call"): self.again.frame.height,
            ("one series", "stream and call are one"): int(self.fingerprint == self.again.fingerprint),
        }


def one_series(show: Show, place: Place, settings: Settings, market: pl.DataFrame, rows: int) -> Series:
    """Archive, fetch, follow, prove.

    Args:
        rows: how many the feed and the backfill have written so far.

    Raises:
        DemoFailed: if a process ends, or anything does not get there in time.
        SeamlessError: as the provider may refuse.
    """
    with (
        _process(place, "archive run", "archiver") as archiver,
        _process(place, "normalize", "normalizer-again") as normalizer,
        Provider(settings, "demo", observe=False) as provider,
    ):
        _archive(show, place, settings, archiver, rows)
        fetched = _fetch(show, provider)
        series = _follow(show, settings, provider, market, fetched)
        for process in (archiver, normalizer):
            process.send(signal.SIGTERM)
        deadline = Deadline(_STOP_SECONDS)
        if not (archiver.wait(deadline) and normalizer.wait(deadline)):
            raise DemoFailed(f"the archiver or the normalizer did not end within {_STOP_SECONDS:g} s of being asked to")
    return series


def next_sessions(market: pl.DataFrame) -> pl.DataFrame:
    """Return made-up bars of the sessions that follow the market data: each day a hundredth above the last."""
    last = market.filter(pl.col("Date") == market["Date"].max())
    behind = date.fromisoformat(str(market["Date"].max()))
    days: list[date] = []
    while len(days) < NEW_SESSIONS:
        behind += timedelta(days=1)
        if behind.weekday() < _SATURDAY:  # no holiday is near
            days.append(behind)
    prices = ["Open", "High", "Low", "Close"]
    return pl.concat(
        last.with_columns(
            pl.lit(day.isoformat()).alias("Date"),
            *((pl.col(p).cast(pl.Float64) * 1.01**n).round(4).cast(pl.String) for p in prices),
        )
        for n, day in enumerate(days, 1)
    )


@contextmanager
def _process(place: Place, command: str, name: str) -> Iterator[ProcessRef]:
    process = place.start(command, name)
    try:
        yield process
    finally:
        process.kill()


def _archive(show: Show, place: Place, settings: Settings, archiver: ProcessRef, rows: int) -> None:
    show.step(
        "The archive",
        "Kafka keeps rows for a while, the archive for good: feed and history become one Delta table, each row once, "
        "with the offsets that it reaches. No crash loses or doubles any.",
    )
    reader, deadline = ArchiveReader(settings), Deadline(_ARCHIVED_SECONDS)
    began = monotonic()
    with show.busy("archiving"):
        while (snapshot := reader.snapshot(DATASET)) is None or int(snapshot.files["num_records"].sum()) < rows:
            if not archiver.alive() or deadline.passed():
                said = tail(place.log("archiver"), _LOG_LINES)
                raise DemoFailed(f"the archiver did not get there. Its log says:\n{said}")
            sleep(_LOOK_SECONDS)
    show.done(f"{rows:,} rows are in the table, version {snapshot.version}", f"{monotonic() - began:.1f} s")
    show.command(f"seamless archive run; seamless coverage {DATASET}")


def _fetch(show: Show, provider: Provider) -> FetchResult:
    show.step(
        "Thirteen years in one call",
        "The archive first; what it lacks is fetched by the coordinator and waited for, under a policy. The bars that "
        "the feed left out, or that were quarantined, are the vendor's to give once more:",
    )
    with show.busy("fetching"):
        fetched = provider.fetch(DATASET, None, _FROM, _UNTIL, sla=_POLICY)
    show.command(f'provider.fetch("{DATASET}", None, "{_FROM}", "{_UNTIL}")')
    for line in str(fetched).splitlines():
        show.remark(line.strip())
    show.done(f"{fetched.frame.height:,} bars, fingerprint {fetched.fingerprint}", f"{fetched.timings['total']:.1f} s")
    return fetched


def _follow(show: Show, settings: Settings, provider: Provider, market: pl.DataFrame, fetched: FetchResult) -> Series:
    show.step(
        "History, then live",
        "A stream gives the same bars, and then what comes: joined by offsets, not by timestamps. While it waits, "
        f"{NEW_SESSIONS} sessions of made-up bars are sent by the governed producer:",
    )
    new = next_sessions(market)
    late: list[pl.DataFrame] = []
    anything = SLAPolicy(min_coverage=0)  # of the years since, nothing is there
    with provider.stream(
        DATASET, start=_FROM, sla=anything, fill=False, timeout=_LIVE_SECONDS, batch_rows=_AT_ONCE, on_late=late.append
    ) as stream:
        history = _taken(stream, fetched.frame.height)
        seam = sum(frame.height for frame in history)
        show.done(f"{seam:,} bars of history", "provider.stream(...)")
        with GovernedProducer(DATASET, settings) as producer:
            producer.send(new)
        live = _taken(stream, new.height)
        offsets = stream.position.taken.get("normalized", {})
        contract, version = stream.contract, fetched.contract_version
    came = sum(frame.height for frame in live)
    places = ", ".join(f"{partition}: {offset}" for partition, offset in sorted(offsets.items()) if offset)
    show.done(f"{came} bars live, across the seam; next offsets {places}")
    streamed = pl.concat([*history, *live])
    again = provider.fetch(DATASET, None, _FROM, _NEW_UNTIL, sla=_POLICY, live=True)
    ordered = streamed.sort("event_time", "symbol")
    fingerprint = Fingerprint(contract, version).add(plain_table(ordered, contract)).hexdigest()
    equal = "the same" if fingerprint == again.fingerprint else "not the same"
    show.done(f"the stream's {streamed.height:,} bars have fingerprint {fingerprint}")
    show.done(f"a call for all of them, through other doors, has {equal}: {again.fingerprint}")
    return Series(fetched, streamed, seam, again, fingerprint, sum(frame.height for frame in late))


def _taken(stream: Stream, rows: int) -> list[pl.DataFrame]:
    """Return frames of at least so many rows in all; fewer if no more come."""
    frames: list[pl.DataFrame] = []
    while sum(frame.height for frame in frames) < rows:
        frame = stream.poll(_LIVE_SECONDS)
        if frame is None:
            break
        frames.append(frame)
    return frames
