"""The normalizer's reports as they arrive: what is reported is committed, so they say when all is normalized."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from schemas.report import ConformanceReport
from streams import topics
from streams.events import EventCodec
from streams.partition_reader import PartitionReader, Records, Start
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["ReportReader", "covered", "raw_ends"]

_REPORTS_AT_ONCE = 100


class ReportReader:
    """Reads the reports of one dataset from the first on; a context manager.

    Raises:
        RegistryError, BrokerError: if they cannot be read.
    """

    def __init__(self, settings: Settings, dataset: str, registry: Registry) -> None:
        self._settings, self._dataset = settings, dataset
        self._topic = topics.conformance_reports(settings.world)
        self._codec = EventCodec(registry, self._topic, "conformance_report")
        self._reader = self._open("earliest", until_end=False)

    def poll(self, timeout: float) -> list[ConformanceReport]:
        """Return reports that have arrived, waiting for them at most `timeout` seconds."""
        return self._decoded(self._reader.read(_REPORTS_AT_ONCE, timeout))

    def rest(self) -> list[ConformanceReport]:
        """Return the reports that are there and were not returned yet."""
        reader = self._open(dict(self._reader.reached), until_end=True)
        found: list[ConformanceReport] = []
        try:
            while more := reader.read(_REPORTS_AT_ONCE, None):
                found += self._decoded(more)
        finally:
            reader.close()
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    def _open(self, start: Start, *, until_end: bool) -> PartitionReader:
        return PartitionReader(self._settings, self._topic, _all, start, until_end=until_end)

    def _decoded(self, records: Records | None) -> list[ConformanceReport]:
        values = records.values if records is not None else []
        reports = [ConformanceReport.from_avro(self._codec.decode(value)) for value in values if value is not None]
        return [report for report in reports if report.dataset == self._dataset]


def covered(reports: list[ConformanceReport], ends: Mapping[int, int]) -> bool:
    """Whether reports speak of every raw row below `ends`, by partition."""
    reached: dict[int, int] = {}
    for report in reports:
        for r in report.ranges:
            reached[r.partition] = max(reached.get(r.partition, 0), r.last + 1)
    return all(reached.get(partition, 0) >= end for partition, end in ends.items())


def raw_ends(settings: Settings, dataset: str) -> dict[int, int]:
    """Return the end of each partition of a dataset's raw topic, as it is now; BrokerError if none answers."""
    reader = PartitionReader(settings, topics.raw(settings.world, dataset), _all, "latest", until_end=True)
    reader.close()
    return reader.start


def _all(count: int) -> list[int]:
    return list(range(count))
