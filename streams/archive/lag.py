"""How far behind an archiver is, told at intervals also while nothing can be committed."""

from __future__ import annotations

from streams.archive.consumer import ArchiveConsumer
from streams.archive.layout import Source
from streams.clock import monotonic
from streams.metrics import Metrics

__all__ = ["LagGauge"]


class LagGauge:
    """Sets `seamless_archive_lag_records` for the partitions of a dataset.

    Args:
        interval_s: seconds from one look to the next.
    """

    def __init__(self, metrics: Metrics, dataset: str, interval_s: float) -> None:
        self._gauge, self._dataset, self._interval = metrics.archive_lag_records, dataset, interval_s
        self._told = float("-inf")

    def follow(self, consumer: ArchiveConsumer) -> None:
        """Look, if it is time to."""
        if monotonic() - self._told < self._interval:
            return
        for source, behind in consumer.behind().items():
            self._gauge.set(behind, dataset=self._dataset, topic=source.topic, partition=str(source.partition))
        self._told = monotonic()

    def forget(self, source: Source) -> None:
        """Say no more of a partition that was given away."""
        self._gauge.remove(dataset=self._dataset, topic=source.topic, partition=str(source.partition))
