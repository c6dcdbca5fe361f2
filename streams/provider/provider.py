"""The SDK that strategies use: series out of archive, Kafka and backfill, inside of promised times."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from types import MappingProxyType, TracebackType
from typing import Self

import polars as pl

from schemas.grid import DAY, make_grid
from streams.archive.reader import ArchiveReader
from streams.clock import Deadline
from streams.errors import SeamlessError, SettingsError
from streams.metrics import Metrics
from streams.operating.follower import Follower
from streams.provider.account import Surroundings
from streams.provider.calls import Kind
from streams.provider.fetching import Fetch
from streams.provider.filling import Filling
from streams.provider.kit import Degraded, Kit
from streams.provider.moments import Moment, moment_ns
from streams.provider.observation_writer import ObservationWriter
from streams.provider.result import FetchResult
from streams.provider.sla_metrics import SLAMetrics
from streams.provider.stream import Stream
from streams.provider.stream_position import StreamPosition
from streams.provider.streaming import make_stream
from streams.provider.tail import Wanted
from streams.provider.tail_pool import TailPool
from streams.settings import Settings, load_settings
from streams.sla_resolve import Override, ResolvedPolicy, checked_consumer, resolve

__all__ = ["Provider"]

_CLOSE_S = 2.0


class Provider:
    """Gives series of market data to one consumer. Opens nothing until it is needed; any thread may use it.

    with Provider(consumer="momentum") as provider:
        bars = provider.fetch("ohlcv.us.1d", ["AAPL", "IBM"], "2004-01-01", "2017-01-01")

    Args:
        settings: those of `seamless.toml` and the environment if not given.
        consumer: whose promises are in force, see docs/sla.md; a label of metrics.
        metrics: where it counts; its own if not given.
        observe: whether observations are written to Kafka, which takes a connection.
        follow: whether what operators set at run time is followed (docs/rollback.md), which takes a connection.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        consumer: str | None = None,
        *,
        metrics: Metrics | None = None,
        observe: bool = True,
        follow: bool = True,
    ) -> None:
        self._settings = settings or load_settings()
        self._consumer = None if consumer is None else checked_consumer(consumer)
        self.metrics = metrics or Metrics(self._settings.world)
        told = SLAMetrics(self.metrics)
        self._observations = ObservationWriter(self._settings, self.metrics) if observe else None
        writers = () if self._observations is None else (self._observations.write,)
        around = Surroundings(
            observers=(told.observed, *writers),
            on_timeout=told.timed_out,
            where=MappingProxyType(_places(self._settings)),
        )
        self._kit = Kit(
            self._settings,
            ArchiveReader(self._settings),
            TailPool(self._settings),
            Filling(self._settings),
            around,
            Degraded(self.metrics),
            Follower(self._settings, self.metrics),
        )
        self._follow = follow
        self._sla_metrics = told
        self._streams: set[Stream] = set()
        self._closed = threading.Event()
        for dataset in self._settings.datasets.values():  # calendars take a second, which no deadline should pay for
            make_grid(dataset.interval_ns() or DAY, dataset.calendar)

    def fetch(
        self,
        dataset: str,
        symbols: Collection[str] | str | None,
        start: Moment,
        end: Moment | None = None,
        *,
        sla: Override | None = None,
        as_of: Moment | None = None,
        live: bool | None = None,
    ) -> FetchResult:
        """Return the newest row of each identity from `start` up to (and without) `end`, as complete as can be had.

        The archive is read first. If all is there, nothing else is asked. Else what Kafka has behind the archive is
        read, what is missing is fetched by the coordinator and waited for, and bars that have just ended are waited
        for; each under the policy.

        Args:
            symbols: one or several; None for all that the dataset's settings name, or that have rows.
            start, end: aware datetimes, nanoseconds since the epoch, or text such as 2024-01-31; no end: up to now.
            sla: what differs from the policy in force: fields of a policy, or the name of a preset.
            as_of: only what was known at a past moment; nothing is fetched for it.
            live: True: ask Kafka also if nothing is missing, as there may be corrections that are not archived yet;
                False: do not wait for bars that have just ended.

        Raises:
            SettingsError: if the dataset or the preset is unknown, or an argument makes no sense.
            SeamlessSLAExceeded: if a promise is not kept, and the policy says to fail then.
            ArchiveUnavailable, BrokerError, CoordinatorUnavailable, RegistryUnavailable: if what is needed is away,
                and the policy says to fail then.
        """
        if self._closed.is_set():
            raise SeamlessError("the provider is closed: make a new one")
        resolved = self._resolved(dataset, sla)
        wanted = self._wanted(dataset, symbols, start, end, as_of)
        return Fetch(self._kit, wanted, resolved, live).run()

    def stream(
        self,
        dataset: str,
        symbols: Collection[str] | str | None = None,
        start: Moment | None = None,
        *,
        sla: Override | None = None,
        position: StreamPosition | str | None = None,
        fill: bool = True,
        timeout: float | None = None,
        until_end: bool = False,
        on_late: Callable[[pl.DataFrame], None] | None = None,
        batch_rows: int = 10_000,
    ) -> Stream:
        """Return history from `start` on and then what comes as one series, each row once and in order.

        It opens at its first step. See docs/streams.md; several are merged by `streams.MergedStream`.

        Args:
            symbols: one or several; None for all that the dataset's settings name, or that have rows.
            start: an aware datetime, nanoseconds since the epoch, or text such as 2024-01-31; None for the first row.
            sla: what differs from the policy in force: fields of a policy, or the name of a preset.
            position: of an earlier stream of the same, to go on from there.
            fill: whether holes of history are fetched by the coordinator first.
            timeout: seconds without a row after which the iteration ends; None waits for ever.
            until_end: end behind the rows that are committed when history has been given.
            on_late: is called with rows that landed after the stream was beyond their time.
            batch_rows: about so many rows in a frame.

        Raises:
            SettingsError: if the dataset or the preset is unknown, or an argument makes no sense.
        """
        if self._closed.is_set():
            raise SeamlessError("the provider is closed: make a new one")
        made = make_stream(
            self._kit,
            self._resolved(dataset, sla),
            symbols,
            start,
            position=position,
            fill=fill,
            timeout=timeout,
            until_end=until_end,
            on_late=on_late,
            batch_rows=batch_rows,
            metrics=self._sla_metrics,
            close=self._streams.discard,
        )
        self._streams.add(made)
        return made

    def wait_for_operations(self, seconds: float) -> bool:
        """Wait until it is known what operators have set at run time; return whether it is.

        Fetches and streams follow it by themselves, and wait for nothing: the first of them may go by the settings.
        """
        if self._follow:
            self._kit.operations.start()
            self._kit.operations.wait(seconds)
        return self._kit.operations.known

    def close(self) -> None:
        """End its streams and let go of connections, which takes two seconds at most, whatever hangs."""
        if self._closed.is_set():
            return
        self._closed.set()
        deadline = Deadline(_CLOSE_S)
        for stream in list(self._streams):
            stream.close()
        self._kit.tails.close(deadline.left())
        self._kit.filling.close(deadline.left())
        self._kit.operations.close(deadline.left())
        if self._observations is not None:
            self._observations.close(deadline.left())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # How

    def _resolved(self, dataset: str, sla: Override | None) -> ResolvedPolicy:
        if self._follow:
            self._kit.operations.start()
        return resolve(self._kit.operations.settings, dataset, self._consumer, sla)

    def _wanted(
        self,
        dataset: str,
        symbols: Collection[str] | str | None,
        start: Moment,
        end: Moment | None,
        as_of: Moment | None,
    ) -> Wanted:
        chosen = self._settings.dataset(dataset)
        now = int(self._kit.around.wall().timestamp() * 1e9)
        first = moment_ns("start", start, chosen.timezone)
        behind = now if end is None else moment_ns("end", end, chosen.timezone)
        if behind <= first:
            raise SettingsError("end is not after start, so no row can be in the range: give a later end")
        known = None if as_of is None else moment_ns("as_of", as_of, chosen.timezone)
        if known is not None and known > now:
            raise SettingsError("as_of is in the future: name a moment that has been, or none for what is known now")
        names = (symbols,) if isinstance(symbols, str) else chosen.symbols if symbols is None else symbols
        if names is not None:
            names = tuple(sorted(set(names)))
            if not names or not all(name.strip() for name in names):
                raise SettingsError("symbols is empty or has a blank one: name at least one, or None for all")
        return Wanted(dataset, names, first, behind, None if known is None else known // 1_000_000)


def _places(settings: Settings) -> dict[Kind, str]:
    url = settings.coordinator_url
    return {
        "storage": f"at {settings.archive.url}",
        "broker": f"at {settings.kafka.bootstrap_servers}",
        "coordinator": "in this process" if url is None else f"at {url}",
        "registry": f"at {settings.registry.url}",
    }
