"""The archiver: committed rows of a dataset's normalized and history topics into its table, each exactly once.

One thread owns the consumer and the table of one dataset. It gathers rows for at most the commit interval, and commits
them together with the offsets that they reach up to. The table alone says where to go on; Kafka's group only shares the
partitions out. So whatever ends a process, or lets two of them hold the same rows, costs a second reading and no row:

- A commit whose rows do not follow what the table has is refused, by us or by Delta (`streams.archive.table`).
- After any refusal or failure the table is read again. If it stands where the rows in memory begin, they are committed
  again; if not (as another has committed them, or our own commit was made though it seemed to fail), they are dropped,
  and everything is read on from where the table stands.
"""

from __future__ import annotations

from threading import Event

import pyarrow as pa

from streams import topics
from streams.archive.borders import borders_of
from streams.archive.consumer import ArchiveConsumer, archiver_group
from streams.archive.lag import LagGauge
from streams.archive.layout import Layout, Source, sources_of
from streams.archive.patience import Patience
from streams.archive.places import choose_place
from streams.archive.rows import RowDecoder, Undecodable
from streams.archive.table import CommitRefused, DatasetTable, Move, Snapshot
from streams.clock import monotonic
from streams.dataset_checks import check_interval
from streams.errors import ArchiveUnavailable, BrokerError, DatasetStopped
from streams.health import Health, Status
from streams.log import get_logger
from streams.metrics import Metrics
from streams.normalizer_job import check_topics
from streams.raw_batch import RawBatch
from streams.registry import Registry, RegistryUnavailable
from streams.settings import Settings

__all__ = ["Archiver"]

log = get_logger(__name__)

_CHUNK_ROWS = 10_000
_SHORTEST_WAIT, _LONGEST_WAIT = 0.01, 0.5


class Archiver:
    """Archives one dataset until told to stop.

    Args:
        accept_loss: where the table's offset is not in the topic, begin at the oldest record instead of stopping, and
            leave out records that are no rows.

    Attributes:
        table: where the rows go.

    Raises:
        SeamlessError: if the dataset is not configured, its contract not registered or a topic not there.
    """

    def __init__(
        self,
        settings: Settings,
        dataset: str,
        registry: Registry,
        metrics: Metrics,
        health: Health,
        *,
        accept_loss: bool = False,
    ) -> None:
        self.dataset, self._settings, self._metrics, self._health = dataset, settings, metrics, health
        self._accept_loss = accept_loss
        world, wanted = settings.world, settings.dataset(dataset)
        check_topics(settings, dataset, (topics.normalized, topics.history))
        self.table = DatasetTable(settings, dataset)
        self._sources = sources_of(world, dataset, wanted.partitions)
        self._first = Source(topics.normalized(world, dataset), 0)
        self._decoder = RowDecoder(registry, world, dataset)
        check_interval(settings, dataset, self._decoder.contract)
        self._layout = Layout.of(self._decoder.contract, wanted.interval_ns())
        self._layout_version = self._decoder.version
        self._consumer: ArchiveConsumer | None = None
        self._snapshot: Snapshot | None = None
        self._rows: list[pa.Table] = []
        self._count = 0
        self._since = 0.0
        # What the table says of each partition that is read, and where reading it began.
        self._base: dict[Source, int | None] = {}
        self._begun: dict[Source, int] = {}
        self._patience = Patience(dataset, health)
        self._lag = LagGauge(metrics, dataset, settings.archive.commit_interval_s)
        self._look_again = False

    @property
    def maintains(self) -> bool:
        """Whether this process has the dataset's first partition, and so takes care of its table."""
        return self._first in self._base

    @property
    def sources(self) -> list[Source]:
        """The partitions that this process reads now."""
        return sorted(self._base)

    @property
    def rows_in_memory(self) -> int:
        """How many rows wait for their commit."""
        return self._count

    def run(self, stop: Event, *, until_end: bool = False) -> None:
        """Work until `stop` is set, or (until_end) until all rows that exist now are in the table.

        Raises:
            DatasetStopped: if the topics no longer hold what the table needs next, or hold what is no row.
            BrokerError: if Kafka refuses.
        """
        self._metrics.dataset_stopped.set(0, dataset=self.dataset)
        goal = self._goal() if until_end else None
        names = {source.topic: None for source in self._sources}
        group = archiver_group(self._settings.world, self.dataset)
        self._consumer = ArchiveConsumer(self._settings, group, names, self._taken)
        try:
            while not stop.is_set() and not (goal is not None and self._reached(goal)):
                self._step()
            self._commit()
        except DatasetStopped as stopped:
            self._drop()
            self._metrics.dataset_stopped.set(1, dataset=self.dataset)
            self._health.set(self.dataset, Status.STOPPED, str(stopped))
            log.error("dataset_stopped", dataset=self.dataset, reason=str(stopped))
            raise
        except BaseException:
            self._drop()
            raise
        finally:
            self._consumer.close()

    # One turn of the loop -----------------------------------------------------------------------------------------

    def _step(self) -> None:
        consumer = self._live()
        self._health.beat()
        rested = self._patience.rested
        if rested and self._look_again:
            self._reread()
        if rested and consumer.fresh:
            self._begin()
        consumer.hold(self._count >= self._settings.archive.commit_rows)
        for topic, batch in consumer.poll(_CHUNK_ROWS, self._wait()):
            self._take(topic, batch)
        if consumer.astray:
            self._begin_anew()
        if rested and not self._look_again and self._due():
            self._commit()
        self._lag.follow(consumer)

    def _wait(self) -> float:
        """Return how long to gather rows at most before looking at the time again."""
        interval = self._settings.archive.commit_interval_s
        left = interval - (monotonic() - self._since) if self._count else interval
        return min(_LONGEST_WAIT, max(_SHORTEST_WAIT, left))

    def _due(self) -> bool:
        """Whether it is time to commit: enough rows, or enough time since the first of them or the last commit."""
        if self._count >= self._settings.archive.commit_rows:
            return True
        return monotonic() - self._since >= self._settings.archive.commit_interval_s

    def _take(self, topic: str, batch: RawBatch) -> None:
        """Gather the rows of a batch."""
        if self._look_again and self._count >= self._settings.archive.commit_rows:
            self._begin_anew()  # What still came although nothing more is fetched must not fill the memory.
            return
        try:
            rows = self._decoder.decode(topic, batch, leave_out=self._accept_loss)
        except RegistryUnavailable as error:
            self._patience.failed("registry", error)
            self._begin_anew()
            return
        except Undecodable as bad:
            raise DatasetStopped(
                f"{topic}, {bad}. Something other than Seamless writes to this topic, or the registry is another one. "
                "Start once with --accept-loss to archive what comes behind it without it"
            ) from bad
        if self._decoder.version != self._layout_version:
            # Rows in memory have the columns of before, and these have the new ones already.
            self._commit()
            self._adopt()
            if self._count:
                self._begin_anew()
                return
        if not self._count:
            self._since = monotonic()
        self._rows.append(rows)
        self._count += rows.num_rows

    def _adopt(self) -> None:
        self._layout = Layout(self._decoder.contract, self._layout.period)
        self._layout_version = self._decoder.version
        log.info("contract_adopted", dataset=self.dataset, version=self._layout_version)

    # Where to go on -----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Find out where fresh partitions are read from, and read them."""
        consumer, fresh = self._live(), sorted(self._live().fresh)
        try:
            snapshot = self._newest()
            positions = snapshot.positions(fresh)
            borders = borders_of(self._settings, fresh, stable=False)
            if not self._follow(snapshot):
                return
        except (ArchiveUnavailable, BrokerError) as error:
            self._patience.failed("place", error)
            return
        for source in fresh:
            position, found = positions.get(source), borders[source]
            place = choose_place(
                source, position, found, accept_loss=self._accept_loss, dataset=self.dataset, url=self.table.url
            )
            self._base[source], self._begun[source] = position, place
            consumer.begin(source, place)
            if place != (position or 0):
                log.warning("begins_late", topic=source.topic, partition=source.partition, table=position, offset=place)
        self._patience.worked()

    def _follow(self, snapshot: Snapshot) -> bool:
        """Go on from a version of the table, if what is in memory follows it; else begin anew, and return False."""
        if any(snapshot.position(source) != base for source, base in self._base.items()):
            log.info("read_anew", dataset=self.dataset, rows_dropped=self._count)
            self._begin_anew()
            return False
        self._snapshot = snapshot
        self._layout = Layout(self._layout.contract, snapshot.layout.period)
        return True

    def _begin_anew(self) -> None:
        """Drop what is in memory; every partition is read on from where the table stands."""
        self._drop()
        self._live().begin_anew()

    def _drop(self) -> None:
        self._rows, self._count, self._look_again = [], 0, False
        self._base.clear()
        self._begun.clear()

    # Commit -------------------------------------------------------------------------------------------------------

    def _commit(self) -> bool:
        """Commit what is in memory; return whether nothing is left."""
        consumer, began = self._live(), monotonic()
        reached = ((source, consumer.next(source)) for source in consumer.owned())
        moves = {s: Move(self._base[s], to) for s, to in reached if to != (self._base[s] or self._begun[s])}
        self._since = began
        if self._look_again or not moves:
            return not self._look_again
        assert self._snapshot is not None
        try:
            rows = self._layout.stored(pa.concat_tables(self._rows)) if self._count else None
            if self._layout_version > self._snapshot.contract_version:
                self._snapshot.adopt(self._layout.contract, self._layout_version)
            self._snapshot.commit(rows, moves)
        except CommitRefused as refused:
            log.warning("commit_refused", dataset=self.dataset, reason=str(refused))
            self._metrics.archive_refused_commits.add(dataset=self.dataset)
            self._look_again = True
            self._reread()
            return False
        except ArchiveUnavailable as error:
            self._look_again = True
            self._patience.failed("commit", error)
            return False
        self._committed(rows, moves, monotonic() - began)
        return True

    def _committed(self, rows: pa.Table | None, moves: dict[Source, Move], seconds: float) -> None:
        self._base |= {source: move.to for source, move in moves.items()}
        self._rows, self._count = [], 0
        metrics, dataset = self._metrics, self.dataset
        metrics.archive_commits.add(dataset=dataset)
        metrics.archive_commit_seconds.observe(seconds, dataset=dataset)
        metrics.archive_rows.add(rows.num_rows if rows is not None else 0, dataset=dataset)
        log.info("rows_archived", dataset=dataset, rows=rows.num_rows if rows is not None else 0,
                 seconds=round(seconds, 3))  # fmt: skip
        self._live().tell({source: move.to for source, move in moves.items()})
        self._patience.worked()

    def _reread(self) -> None:
        """Read the table again, and see whether the rows in memory still follow what it has."""
        try:
            self._follow(self._newest())
        except ArchiveUnavailable as error:
            self._patience.failed("table", error)
        else:
            self._look_again = False

    def _newest(self) -> Snapshot:
        """Return the table as it is now; makes it if this process has not seen it yet."""
        if self._snapshot is None:
            return self.table.create(self._layout, self._layout_version)
        found = self.table.load()
        if found is None:
            raise ArchiveUnavailable(f"the table at {self.table.url} was there and is not any more: bring it back")
        return found

    # The group's callback, on the thread that polls ---------------------------------------------------------------

    def _taken(self, sources: list[Source], lost: bool) -> None:
        """Commit what is in memory before partitions go; what cannot be committed is read again by whoever has them."""
        if self._consumer is not None and not lost and self._count and not self._commit():
            log.info("rows_left_to_others", dataset=self.dataset, rows=self._count)
        if self._count and any(source in self._base for source in sources):
            self._drop()
            self._live().begin_anew()
        for source in sources:
            self._base.pop(source, None)
            self._begun.pop(source, None)
            self._lag.forget(source)

    # Small things -------------------------------------------------------------------------------------------------

    def _live(self) -> ArchiveConsumer:
        if self._consumer is None:
            raise RuntimeError("the archiver does not run")
        return self._consumer

    def _goal(self) -> dict[Source, int]:
        """Return the stable end of every partition that has records."""
        borders = borders_of(self._settings, self._sources, stable=True)
        return {source: found.end for source, found in borders.items() if found.end > found.oldest}

    def _reached(self, goal: dict[Source, int]) -> bool:
        """Whether the table holds everything up to the goal; commits at once what this process has of it."""
        consumer = self._live()
        if self._look_again or consumer.fresh or any(consumer.next(s) < goal.get(s, 0) for s in consumer.owned()):
            return False
        if not self._commit():
            return False
        try:
            snapshot = self._newest()
            return all((snapshot.position(source) or 0) >= end for source, end in goal.items())
        except ArchiveUnavailable as error:
            self._patience.failed("table", error)
            return False
