"""How old the newest live row of a stream is, looked at while the stream waits."""

from __future__ import annotations

import polars as pl

from schemas.contract import Contract
from streams.archive.layout import NORMALIZED, TOPIC
from streams.provider.account import Surroundings
from streams.provider.phases import Phases
from streams.provider.staleness import staleness_seconds
from streams.provider.stream_order import nanoseconds_of
from streams.settings import DatasetSettings

__all__ = ["Age"]

_EVERY_S = 1.0


class Age:
    """Checks the promise of fresh rows, once a second; what backfill brings makes no series look fresh."""

    def __init__(self, dataset: DatasetSettings, phases: Phases, around: Surroundings) -> None:
        self._interval_ns, self._calendar = dataset.interval_ns(), dataset.calendar
        self._phases, self._around = phases, around
        self._newest: int | None = None
        self._looked: float | None = None

    def begins_at(self, newest: int | None) -> None:
        """Take the newest row of history as the newest live one, as nothing is known of where it came from."""
        if self._newest is None:
            self._newest = newest

    def saw(self, rows: pl.DataFrame, contract: Contract) -> None:
        """Learn rows, with the system's columns."""
        newest = rows.filter(pl.col(TOPIC) == NORMALIZED).select(nanoseconds_of(contract).max()).item()
        if newest is not None:
            self._newest = newest if self._newest is None else max(newest, self._newest)

    def look(self) -> None:
        """Check the age, once a second; SeamlessSLAExceeded if it is too great, and the policy says to fail then."""
        now = self._around.now()
        if self._newest is None or (self._looked is not None and now - self._looked < _EVERY_S):
            return
        self._looked = now
        now_ns = int(self._around.wall().timestamp() * 1e9)
        age = staleness_seconds(self._newest, now_ns, interval_ns=self._interval_ns, calendar=self._calendar)
        self._phases.renewed().check_staleness(age, watermark=self._newest)
