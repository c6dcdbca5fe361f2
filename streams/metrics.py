"""The metrics of every process: one table of them, and objects to record with that already know the world.

The only module that imports prometheus_client. Each process makes one `Metrics`, with a registry of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from schemas.report import ConformanceReport
from streams.build import VERSION
from streams.metric_table import METRICS, MetricDefinition

__all__ = ["ABORT_REASONS", "CONTENT_TYPE", "METRICS", "AbortReason", "MetricDefinition", "Metrics"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
WORLD = "world_id"
AbortReason = Literal["fenced", "timeout", "rebalance", "retriable", "shutdown", "error"]
ABORT_REASONS: tuple[AbortReason, ...] = ("fenced", "timeout", "rebalance", "retriable", "shutdown", "error")


class CounterMetric:
    """A count that only grows."""

    def __init__(self, definition: MetricDefinition, world: str, registry: CollectorRegistry) -> None:
        self._world = world
        self._metric = Counter(definition.name, definition.help, (*definition.labels, WORLD), registry=registry)
        if not definition.labels:  # present from the start, so that a first event shows as a rate
            self.add(0)

    def add(self, amount: float = 1, /, **labels: str) -> None:
        """Count `amount` more (not negative); ValueError for labels that are not the metric's own."""
        self._metric.labels(**labels, world_id=self._world).inc(amount)


class GaugeMetric:
    """A value that goes up and down."""

    def __init__(self, definition: MetricDefinition, world: str, registry: CollectorRegistry) -> None:
        self._world = world
        self._labels = definition.labels
        self._metric = Gauge(definition.name, definition.help, (*definition.labels, WORLD), registry=registry)

    def set(self, value: float, /, **labels: str) -> None:
        """Set the value; ValueError for labels that are not the metric's own."""
        self._metric.labels(**labels, world_id=self._world).set(value)

    def remove(self, **labels: str) -> None:
        """Forget a series, as of a partition that was given away; nothing happens if it is not there."""
        values = (*(labels[name] for name in self._labels), self._world)
        if any(values == series for series in list(self._metric._metrics)):
            self._metric.remove(*values)


class HistogramMetric:
    """A distribution of values."""

    def __init__(self, definition: MetricDefinition, world: str, registry: CollectorRegistry) -> None:
        self._world = world
        self._metric = Histogram(
            definition.name,
            definition.help,
            (*definition.labels, WORLD),
            registry=registry,
            buckets=definition.buckets,
        )

    def observe(self, value: float, /, **labels: str) -> None:
        """Add one value; ValueError for labels that are not the metric's own."""
        self._metric.labels(**labels, world_id=self._world).observe(value)


class Metrics:
    """All metrics of one process in one world; every attribute is a row of the table without `seamless_`."""

    def __init__(self, world: str, *, version: str = VERSION) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series of creation times beside each counter, of no use here
        self.world = world
        self._registry = CollectorRegistry()
        self._table = {row.name: row for row in METRICS}
        self.conformance_flag = self._counter("seamless_conformance_flag_total")
        self.conformance_warning = self._counter("seamless_conformance_warning_total")
        self.rows_in = self._counter("seamless_rows_in_total")
        self.rows_out = self._counter("seamless_rows_out_total")
        self.rows_quarantined = self._counter("seamless_rows_quarantined_total")
        self.rows_dropped = self._counter("seamless_rows_dropped_total")
        self.transactions = self._counter("seamless_transactions_total")
        self._transaction_aborts = self._counter("seamless_transaction_aborts_total")
        self.commit_seconds = self._histogram("seamless_commit_seconds")
        self.lag_records = self._gauge("seamless_lag_records")
        self.dataset_stopped = self._gauge("seamless_dataset_stopped")
        self.registry_wait = self._gauge("seamless_registry_wait")
        self.schema_validation_failures = self._counter("seamless_schema_validation_failures_total")
        self.schema_exceptions_active = self._gauge("seamless_schema_exceptions_active")
        self.schema_exceptions_expiring = self._gauge("seamless_schema_exceptions_expiring")
        self.schema_decode_fallback = self._counter("seamless_schema_decode_fallback_total")
        self.restore_seconds = self._gauge("seamless_restore_seconds")
        self.backfill_completion_ratio = self._gauge("backfill_completion_ratio")
        self.backfill_jobs_in_progress = self._gauge("backfill_jobs_in_progress")
        self.backfill_rows = self._counter("backfill_rows_total")
        self.backfill_shard_seconds = self._histogram("backfill_shard_seconds")
        self.backfill_retry = self._counter("backfill_retry_total")
        self.backfill_failure = self._counter("backfill_failure_total")
        self.backfill_last_timestamp = self._gauge("backfill_last_timestamp")
        self.backfill_lease_moves = self._counter("backfill_lease_moves_total")
        self.backfill_fenced = self._counter("backfill_fenced_total")
        self.backfill_stalled_leases = self._gauge("backfill_stalled_leases")
        self.archive_lag_records = self._gauge("seamless_archive_lag_records")
        self.archive_rows = self._counter("seamless_archive_rows_total")
        self.archive_commits = self._counter("seamless_archive_commits_total")
        self.archive_refused_commits = self._counter("seamless_archive_refused_commits_total")
        self.archive_commit_seconds = self._histogram("seamless_archive_commit_seconds")
        self.archive_bytes = self._gauge("seamless_archive_bytes")
        self.archive_files = self._gauge("seamless_archive_files")
        self.sla_deadline_seconds = self._histogram("seamless_sla_deadline_seconds")
        self.storage_wait_seconds = self._histogram("seamless_storage_wait_seconds")
        self.backfill_wait_seconds = self._histogram("seamless_backfill_wait_seconds")
        self.live_wait_seconds = self._histogram("seamless_live_wait_seconds")
        self.live_staleness_seconds = self._gauge("seamless_live_staleness_seconds")
        self.coverage_ratio = self._gauge("seamless_coverage_ratio")
        self.partial_fill = self._counter("seamless_partial_fill_total")
        self.stream_rows = self._counter("seamless_stream_rows_total")
        self.stream_late_rows = self._counter("seamless_stream_late_rows_total")
        self.stream_lag_records = self._gauge("seamless_stream_lag_records")
        self.provider_degraded = self._counter("seamless_provider_degraded_total")
        self.sla_violations = self._counter("seamless_sla_violations_total")
        self.sla_observations_dropped = self._counter("seamless_sla_observations_dropped_total")
        self.sla_breaches = self._counter("seamless_sla_breaches_total")
        self.sla_open_breaches = self._gauge("seamless_sla_open_breaches")
        self.sla_error_budget_remaining_ratio = self._gauge("seamless_sla_error_budget_remaining_ratio")
        self.sla_observations = self._counter("seamless_sla_observations_total")
        self.sla_late_observations = self._counter("seamless_sla_late_observations_total")
        self.sla_observations_unreadable = self._counter("seamless_sla_observations_unreadable_total")
        self.sla_agent_lag_records = self._gauge("seamless_sla_agent_lag_records")
        self.sla_window_close_seconds = self._histogram("seamless_sla_window_close_seconds")
        self.sla_open_windows = self._gauge("seamless_sla_open_windows")
        self.calls_unanswered = self._counter("seamless_calls_unanswered_total")
        self.alerts_posted = self._counter("seamless_alerts_posted_total")
        self.alert_post_failures = self._counter("seamless_alert_post_failures_total")
        self.alerts_open = self._gauge("seamless_alerts_open")
        self.alert_post_age_seconds = self._gauge("seamless_alert_post_age_seconds")
        self.rollback_active = self._gauge("seamless_rollback_active")
        self._gauge("seamless_build_info").set(1, version=version)
        for reason in ABORT_REASONS:  # present from the start, so that a first abort shows as a rate
            self._transaction_aborts.add(0, reason=reason)

    def transaction_aborted(self, reason: str) -> None:
        """Count an aborted transaction; a reason outside ABORT_REASONS counts as `error`."""
        self._transaction_aborts.add(reason=reason if reason in ABORT_REASONS else "error")

    def conformance(self, dataset: str, interval: str | None, counts: Iterable[tuple[str, int, bool]]) -> None:
        """Count flagged rows of a committed batch: (flag, rows, whether it is only a warning) each."""
        for flag, rows, is_warning in counts:
            labels = {"flag": flag, "dataset": dataset, "interval": interval or "tick"}
            self.conformance_flag.add(rows, **labels)
            if is_warning:
                self.conformance_warning.add(rows, **labels)

    def schemas(self, subject: str, report: ConformanceReport) -> None:
        """Count the rows of a committed batch whose schema strict refuses, whether they passed or not."""
        for found in report.schemas:
            if found.reason is not None:
                labels = {"subject": subject, "mode": report.schema_mode or "optional", "reason": found.reason}
                self.schema_validation_failures.add(found.rows, **labels)

    def render(self) -> bytes:
        """Return all metrics in Prometheus's text format, of type CONTENT_TYPE."""
        return generate_latest(self._registry)

    def _counter(self, name: str) -> CounterMetric:
        return CounterMetric(self._table[name], self.world, self._registry)

    def _gauge(self, name: str) -> GaugeMetric:
        return GaugeMetric(self._table[name], self.world, self._registry)

    def _histogram(self, name: str) -> HistogramMetric:
        return HistogramMetric(self._table[name], self.world, self._registry)
