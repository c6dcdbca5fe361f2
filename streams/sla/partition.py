"""Everything that is known of one partition of the observations, record by record; no Kafka and no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from streams.sla.breach import Breach
from streams.sla.clock import Watermark, floor
from streams.sla.jobs import JobFact, JobSeries
from streams.sla.objectives import DATASET_ITSELF, Objectives, SeriesKey, Watch
from streams.sla.records import Told
from streams.sla.series import Series
from streams.sla.verdict import Links, resolved

__all__ = ["Output", "PartitionWindows"]

NS = 1_000_000_000
_HANDED_ON = DATASET_ITSELF, "staleness"


@dataclass(slots=True)
class Output:
    """What came of records since it was last asked for.

    Attributes:
        breaches: records to write, those of one breach in their order.
        late: what was told of windows that were closed, by series; it is in none of them.
        newest: by dataset, the newest live row that was seen or written, and when it was told; nanoseconds since the
            epoch.
        closes: ends of the windows that were closed and held something.
        observations: how many were folded.
        replayed: records that were folded before.
    """

    breaches: list[Breach] = field(default_factory=list)
    late: Counter[SeriesKey] = field(default_factory=Counter)
    newest: dict[str, tuple[int, int]] = field(default_factory=dict)
    closes: set[int] = field(default_factory=set)
    observations: int = 0
    replayed: int = 0


class PartitionWindows:
    """The windows of all series of one partition.

    Records are handed over in the order of their offsets; one that was handed over before changes nothing.

    Args:
        homes: objectives about datasets themselves of which this is the partition, watched from the first tick.
        grace: how long after its end a window waits, nanoseconds.
        kept: states as `checkpoint` gave them; that of the partition has an empty key.

    Attributes:
        offset: that of the last record.
    """

    def __init__(
        self,
        objectives: Objectives,
        links: Links,
        grace: int,
        homes: Iterable[Watch] = (),
        kept: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self._objectives, self._links, self._homes = objectives, links, tuple(homes)
        states = {state["key"]: dict(state) for state in kept}
        own = states.pop("", None)
        self.offset: int = -1 if own is None else own["offset"]
        self._watermark = Watermark(grace, None if own is None else own["watermark"])
        self._series: dict[str, Series] = {}
        self._jobs: dict[str, JobSeries] = {}
        self._forwarded: dict[str, int] = {}
        self._dirty: set[str] = set()
        self._gone: set[str] = set()
        self.output = Output()
        self._restore(states)

    @property
    def watermark(self) -> int | None:
        """The greatest tick, nanoseconds since the epoch."""
        return self._watermark.at

    @property
    def closed(self) -> int | None:
        """Windows that end here or before are closed, nanoseconds since the epoch."""
        return self._watermark.closed

    @property
    def windows(self) -> int:
        """How many panes of open windows are held."""
        return sum(series.windows for series in self._series.values())

    def open(self) -> Iterator[Breach]:
        """Yield the breaches that are open."""
        yield from (series.breach for series in self._series.values() if series.breach is not None)
        for jobs in self._jobs.values():
            yield from jobs.open.values()

    def series(self) -> list[Series]:
        """Return the series there are."""
        return list(self._series.values())

    def budgets(self) -> Iterator[tuple[Watch, float]]:
        """Yield each error budget with the share of it that is left."""
        for series in self._series.values():
            if series.budget_left is not None:
                yield series.watch, series.budget_left

    def fold(self, offset: int, told: Told | None) -> None:
        """Take what a record says; None of a record that says nothing."""
        if offset <= self.offset:
            self.output.replayed += 1
            return
        self.offset = offset
        if told is None:
            return
        closed = self._watermark.closed
        folded = late = False
        for series in self._series_of(told, closed):
            at = told.at
            if series.watch.kind == "staleness":
                at = max(at, closed or 0)  # how new rows are is news whenever it comes
            elif closed is not None and series.end_of(at) <= closed:
                late = True
                continue
            if series.fold(offset, told.source, at, told.fold):
                folded = True
                self._dirty.add(series.watch.id)
        if folded:
            self.output.observations += told.fold.count
        if late:
            self.output.late[told.series] += told.fold.count
        self._hand_on(told)

    def tick(self, offset: int, at: int) -> None:
        """Take a tick, nanoseconds since the epoch: close what has ended."""
        if offset <= self.offset:
            self.output.replayed += 1
            return
        self.offset = offset
        if not self._watermark.tick(at):
            return
        closed = self._watermark.closed
        assert closed is not None
        for watch in self._homes:
            if watch.id not in self._series and watch.id not in self._jobs:
                self._begin(watch, closed)
        for series in self._series.values():
            if series.closed + series.watch.step > closed:
                continue
            windows = series.windows
            records = series.advance(closed)
            self.output.breaches += records
            if series.windows < windows:
                self.output.closes.add(series.closed)
            if records or windows or series.empty:
                self._dirty.add(series.watch.id)

    def job_series(self) -> list[JobSeries]:
        """Return those that watch the backfill jobs of a dataset."""
        return list(self._jobs.values())

    def look(self, series: JobSeries, facts: list[JobFact], known: Set[str]) -> None:
        """Have one look at the jobs that it asks for, at the watermark; see `JobSeries.look`."""
        closed = self._watermark.closed
        if closed is not None and series.watch.id in self._jobs:
            before = series.datum()["jobs"]
            self.output.breaches += series.look(facts, known, closed)
            if series.datum()["jobs"] != before:
                self._dirty.add(series.watch.id)

    def drain(self) -> Output:
        """Return what came of records since the last call."""
        output, self.output = self.output, Output()
        return output

    def checkpoint(self) -> list[tuple[str, dict[str, Any] | None]]:
        """Return the states that changed since the last call, by key; None of those that are no longer needed.

        With them all, and with all that `drain` returned, what follows from records up to `offset` is told.
        """
        found: list[tuple[str, dict[str, Any] | None]] = [(key, None) for key in sorted(self._gone)]
        for key in sorted(self._dirty):
            if key in self._jobs:
                found.append((key, self._jobs[key].datum()))
                continue
            series = self._series[key]
            if series.empty:
                found.append((key, None))
                del self._series[key]
            else:
                found.append((key, series.datum()))
        self._dirty.clear()
        self._gone.clear()
        found.append(("", {"key": "", "offset": self.offset, "watermark": self._watermark.at}))
        return found

    # How

    def _series_of(self, told: Told, closed: int | None) -> Iterator[Series]:
        for watch in self._objectives.of(told.series):
            if watch.kind == "completeness":
                continue
            if watch.id not in self._series:
                # Before the first tick nothing is closed, and what comes later may have been told earlier.
                self._begin(watch, closed or 0)
            yield self._series[watch.id]

    def _begin(self, watch: Watch, since: int, kept: dict[str, Any] | None = None) -> None:
        if watch.kind == "completeness":
            self._jobs[watch.id] = JobSeries(watch, self._links, since, kept)
        else:
            self._series[watch.id] = Series(watch, self._links, floor(since, NS), kept)
        self._dirty.add(watch.id)

    def _hand_on(self, told: Told) -> None:
        """Remember how new the rows of a dataset are, for the partition in which that is watched."""
        key, newest = told.series, told.fold.newest
        if newest is None or (key.consumer, key.phase) == _HANDED_ON:
            return
        newest = min(newest, told.at)  # one row that is dated in the future must not hide all that follow
        if newest <= self._forwarded.get(key.dataset, 0):
            return
        if any(w.kind == "staleness" for w in self._objectives.of(SeriesKey(key.dataset, *_HANDED_ON))):
            self._forwarded[key.dataset] = newest
            self.output.newest[key.dataset] = newest, told.at

    def _restore(self, states: dict[str, dict[str, Any]]) -> None:
        for key, state in states.items():
            name, _, rest = key.partition("|")
            series = SeriesKey.parse(rest)
            watch = next((w for w in (self._objectives.of(series) if series else ()) if w.name == name), None)
            if watch is None:
                self._withdraw(key, state)
            else:
                self._begin(watch, 0, state)
        self._dirty.clear()

    def _withdraw(self, key: str, state: dict[str, Any]) -> None:
        """End what is no longer promised; its state goes with the next checkpoint."""
        self._gone.add(key)
        kept = [state.get("breach"), *(job["breach"] for job in state.get("jobs", ()))]
        for each in kept:
            if each is not None:
                self.output.breaches.append(resolved(Breach.from_datum(each), "withdrawn"))
