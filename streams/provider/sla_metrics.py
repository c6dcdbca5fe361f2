"""Observations as metrics, with labels that stay few."""

from __future__ import annotations

import threading

from streams.metrics import Metrics
from streams.provider.calls import Timeout
from streams.provider.observations import Observation

__all__ = ["SLAMetrics"]

_MOST_CONSUMERS = 64
OTHERS = "others"


class SLAMetrics:
    """Counts and times what is observed; from any thread.

    Consumers name themselves, so only so many names become labels; all further ones count as `others`.
    """

    def __init__(self, metrics: Metrics, *, most_consumers: int = _MOST_CONSUMERS) -> None:
        self._metrics, self._most = metrics, most_consumers
        self._consumers: set[str] = set()
        self._lock = threading.Lock()
        self._waits = {
            "storage_wait": metrics.storage_wait_seconds,
            "backfill_wait": metrics.backfill_wait_seconds,
            "live_wait": metrics.live_wait_seconds,
        }

    def observed(self, told: Observation) -> None:
        """Record an observation; one that is made up, or told while the phase still waits, is none."""
        if told.synthetic or not told.final:
            return
        metrics, use = self._metrics, {"consumer": self._label(told.consumer), "dataset": told.dataset}
        phase = {"phase": told.phase}
        if told.outcome in ("violated", "partial", "hold"):
            metrics.sla_violations.add(outcome=told.outcome, **phase, **use)
        if told.phase == "staleness":
            metrics.live_staleness_seconds.set(told.elapsed_seconds, **use)
        elif told.phase == "coverage":
            metrics.coverage_ratio.set(told.coverage or 0.0, **use)
        else:
            interval = told.interval or "tick"
            metrics.sla_deadline_seconds.observe(told.elapsed_seconds, interval=interval, **phase, **use)
        if told.phase in self._waits:
            self._waits[told.phase].observe(told.elapsed_seconds, **use)
        elif told.phase == "total" and told.outcome == "partial":
            metrics.partial_fill.add(**use)

    def timed_out(self, timeout: Timeout) -> None:
        """Record a call without an answer."""
        self._metrics.calls_unanswered.add(target=timeout.kind, reason="refused" if timeout.refused else "timeout")

    def streamed(self, consumer: str, dataset: str, rows: int) -> None:
        """Record rows that a stream gave."""
        self._metrics.stream_rows.add(rows, consumer=self._label(consumer), dataset=dataset)

    def came_late(self, consumer: str, dataset: str, rows: int) -> None:
        """Record rows that landed after a stream was beyond their time."""
        self._metrics.stream_late_rows.add(rows, consumer=self._label(consumer), dataset=dataset)

    def lags(self, consumer: str, dataset: str, records: int) -> None:
        """Record how far a stream is behind."""
        self._metrics.stream_lag_records.set(records, consumer=self._label(consumer), dataset=dataset)

    def _label(self, consumer: str) -> str:
        with self._lock:
            if consumer not in self._consumers and len(self._consumers) >= self._most:
                return OTHERS
            self._consumers.add(consumer)
            return consumer
