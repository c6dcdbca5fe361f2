"""The one table of every metric: its name, its type, its labels and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["METRICS", "MetricDefinition"]


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """One row of the table: `labels` are those besides `world_id`, which every metric carries."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


_WAITS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

METRICS: tuple[MetricDefinition, ...] = (
    MetricDefinition(
        "seamless_conformance_flag_total",
        "counter",
        ("flag", "dataset", "interval"),
        "Rows that conformance flagged, by flag; a row with two flags counts under both.",
    ),
    MetricDefinition(
        "seamless_conformance_warning_total",
        "counter",
        ("flag", "dataset", "interval"),
        "Rows that passed with a warning, by flag; the part of the flagged rows that broke no rule.",
    ),
    MetricDefinition("seamless_rows_in_total", "counter", ("dataset",), "Raw rows whose transaction was committed."),
    MetricDefinition("seamless_rows_out_total", "counter", ("dataset",), "Rows committed to the normalized topic."),
    MetricDefinition(
        "seamless_rows_quarantined_total", "counter", ("dataset",), "Rows committed to the quarantine topic."
    ),
    MetricDefinition(
        "seamless_rows_dropped_total", "counter", ("dataset",), "Rows dropped as duplicates of equal content."
    ),
    MetricDefinition("seamless_transactions_total", "counter", (), "Transactions committed."),
    MetricDefinition(
        "seamless_transaction_aborts_total",
        "counter",
        ("reason",),
        "Transactions aborted, by reason; their rows come again.",
    ),
    MetricDefinition(
        "seamless_commit_seconds", "histogram", (), "Seconds from the end of a batch to its commit.", _SECONDS
    ),
    MetricDefinition(
        "seamless_lag_records",
        "gauge",
        ("topic", "partition"),
        "Records between the committed offset and the last stable offset of an assigned partition.",
    ),
    MetricDefinition(
        "seamless_dataset_stopped",
        "gauge",
        ("dataset",),
        "1 while a dataset is stopped, as too much of it is bad; else 0.",
    ),
    MetricDefinition(
        "seamless_registry_wait",
        "gauge",
        ("dataset",),
        "Schema ids that records carry and the registry does not know yet.",
    ),
    MetricDefinition(
        "seamless_schema_validation_failures_total",
        "counter",
        ("subject", "mode", "reason"),
        "Rows whose schema strict refuses (unknown_schema or incompatible_schema), by the mode that was in force.",
    ),
    MetricDefinition(
        "seamless_schema_exceptions_active",
        "gauge",
        ("dataset",),
        "Exceptions in force, by which violations of a dataset pass as warnings.",
    ),
    MetricDefinition(
        "seamless_schema_exceptions_expiring",
        "gauge",
        ("dataset",),
        "Exceptions in force that end within seven days; the rows that need them are quarantined after that.",
    ),
    MetricDefinition(
        "seamless_schema_decode_fallback_total",
        "counter",
        ("dataset",),
        "Records that the fast codec could not decode, and that the reference codec was asked about.",
    ),
    MetricDefinition(
        "seamless_restore_seconds",
        "gauge",
        ("dataset",),
        "Seconds that the latest reading of a dataset's state took.",
    ),
    MetricDefinition(
        "backfill_completion_ratio",
        "gauge",
        ("node_id", "interval"),
        "Share of the planned rows of a dataset's (node_id) running jobs that is done, 0 to 1; 1 where none runs.",
    ),
    MetricDefinition("backfill_jobs_in_progress", "gauge", (), "Backfill jobs that are neither done nor given up."),
    MetricDefinition("backfill_rows_total", "counter", ("dataset",), "Rows committed to the history topic."),
    MetricDefinition(
        "backfill_shard_seconds",
        "histogram",
        ("dataset",),
        "Seconds from the first claim of a shard to its completion.",
        (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0),
    ),
    MetricDefinition("backfill_retry_total", "counter", ("dataset",), "Source errors after which a fetch was retried."),
    MetricDefinition("backfill_failure_total", "counter", ("dataset",), "Shards given up as failed."),
    MetricDefinition(
        "backfill_last_timestamp",
        "gauge",
        ("node_id", "interval"),
        "Greatest event time of a dataset (node_id) that backfill has written, seconds since the epoch.",
    ),
    MetricDefinition(
        "backfill_lease_moves_total", "counter", (), "Shards taken over from another holder before they were done."
    ),
    MetricDefinition("backfill_fenced_total", "counter", (), "Chunks refused because their holder had lost the lease."),
    MetricDefinition("backfill_stalled_leases", "gauge", (), "Shards that run without progress for too long."),
    MetricDefinition(
        "seamless_archive_lag_records",
        "gauge",
        ("dataset", "topic", "partition"),
        "Records between what is archived or in memory and the last stable offset of an assigned partition.",
    ),
    MetricDefinition("seamless_archive_rows_total", "counter", ("dataset",), "Rows committed to the archive."),
    MetricDefinition("seamless_archive_commits_total", "counter", ("dataset",), "Commits to the archive."),
    MetricDefinition(
        "seamless_archive_refused_commits_total",
        "counter",
        ("dataset",),
        "Commits refused because another archiver's came first; nothing is lost or doubled.",
    ),
    MetricDefinition(
        "seamless_archive_commit_seconds",
        "histogram",
        ("dataset",),
        "Seconds to sort, write and commit rows to the archive.",
        (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
    ),
    MetricDefinition("seamless_archive_bytes", "gauge", ("dataset",), "Bytes of the files that a table consists of."),
    MetricDefinition("seamless_archive_files", "gauge", ("dataset",), "Files that a table consists of."),
    MetricDefinition(
        "seamless_sla_deadline_seconds",
        "histogram",
        ("phase", "consumer", "dataset", "interval"),
        "Seconds that each phase of a fetch took, and the whole (total).",
        _WAITS,
    ),
    MetricDefinition(
        "seamless_storage_wait_seconds",
        "histogram",
        ("consumer", "dataset"),
        "Seconds that a fetch waited for the archive.",
        _WAITS,
    ),
    MetricDefinition(
        "seamless_backfill_wait_seconds",
        "histogram",
        ("consumer", "dataset"),
        "Seconds that a fetch waited for what was missing.",
        _WAITS,
    ),
    MetricDefinition(
        "seamless_live_wait_seconds",
        "histogram",
        ("consumer", "dataset"),
        "Seconds that a fetch or a stream waited for live rows.",
        _WAITS,
    ),
    MetricDefinition(
        "seamless_live_staleness_seconds",
        "gauge",
        ("consumer", "dataset"),
        "Age of the newest live row when it was last looked at, by the dataset's calendar.",
    ),
    MetricDefinition(
        "seamless_coverage_ratio",
        "gauge",
        ("consumer", "dataset"),
        "Share of what the latest fetch asked for that was there, 0 to 1.",
    ),
    MetricDefinition(
        "seamless_partial_fill_total",
        "counter",
        ("consumer", "dataset"),
        "Fetches that gave what there was, as the rest took too long, failed or is not there.",
    ),
    MetricDefinition(
        "seamless_provider_degraded_total",
        "counter",
        ("dataset", "what"),
        "Fetches that went on without the archive, the broker or the coordinator.",
    ),
    MetricDefinition(
        "seamless_stream_rows_total", "counter", ("consumer", "dataset"), "Rows that streams gave to their readers."
    ),
    MetricDefinition(
        "seamless_stream_late_rows_total",
        "counter",
        ("consumer", "dataset"),
        "Rows that landed after a stream was beyond their time, such as corrections.",
    ),
    MetricDefinition(
        "seamless_stream_lag_records",
        "gauge",
        ("consumer", "dataset"),
        "Records that are committed and were not given to the stream's reader yet, at most.",
    ),
    MetricDefinition(
        "seamless_sla_violations_total",
        "counter",
        ("phase", "outcome", "consumer", "dataset"),
        "Phases and checks over their limit: violated (raised, or late with an answer), partial or hold.",
    ),
    MetricDefinition(
        "seamless_sla_observations_dropped_total",
        "counter",
        ("reason",),
        "Observations that did not get to Kafka: queue_full, undelivered or closed.",
    ),
    MetricDefinition(
        "seamless_sla_breaches_total",
        "counter",
        ("objective", "phase", "severity", "dataset"),
        "Breaches that opened, and once more those that escalated, by the severity that they then had.",
    ),
    MetricDefinition(
        "seamless_sla_open_breaches",
        "gauge",
        ("objective", "phase", "severity", "dataset"),
        "Breaches that are open, in the partitions that this agent holds.",
    ),
    MetricDefinition(
        "seamless_sla_error_budget_remaining_ratio",
        "gauge",
        ("objective", "phase", "consumer", "dataset"),
        "Share of an error budget that is left in its period; negative if it is overdrawn.",
    ),
    MetricDefinition("seamless_sla_observations_total", "counter", (), "Observations folded into windows."),
    MetricDefinition(
        "seamless_sla_late_observations_total",
        "counter",
        ("phase", "dataset"),
        "Observations of windows that were closed already; they are in none.",
    ),
    MetricDefinition(
        "seamless_sla_observations_unreadable_total", "counter", (), "Records read by the agent that are no events."
    ),
    MetricDefinition(
        "seamless_sla_agent_lag_records",
        "gauge",
        ("partition",),
        "Records of observations that an agent has still to read, by partition that it holds.",
    ),
    MetricDefinition(
        "seamless_sla_window_close_seconds",
        "histogram",
        (),
        "Seconds from the end of a window that held something until what follows from it was committed.",
        _SECONDS,
    ),
    MetricDefinition("seamless_sla_open_windows", "gauge", (), "Pieces of open windows that an agent holds."),
    MetricDefinition(
        "seamless_calls_unanswered_total",
        "counter",
        ("target", "reason"),
        "Calls given up by their deadline (timeout), or not made as earlier ones hang (refused).",
    ),
    MetricDefinition(
        "seamless_alerts_posted_total",
        "counter",
        ("alertmanager",),
        "Alerts that an Alertmanager took, those included that it was told before.",
    ),
    MetricDefinition(
        "seamless_alert_post_failures_total",
        "counter",
        ("alertmanager", "reason"),
        "Posts that an Alertmanager did not take: unanswered, or refused as wrong.",
    ),
    MetricDefinition("seamless_alerts_open", "gauge", ("severity",), "Breaches that are open."),
    MetricDefinition(
        "seamless_alert_post_age_seconds",
        "gauge",
        ("alertmanager",),
        "Seconds since an Alertmanager last took a post; there is one each resend interval, also without alerts.",
    ),
    MetricDefinition(
        "seamless_rollback_active",
        "gauge",
        ("what", "dataset"),
        "1 while a rollback (shadow, sla or storage-first) is in force for a dataset, or for all (*); 0 after it.",
    ),
    MetricDefinition("seamless_build_info", "gauge", ("version",), "Always 1; its labels say what runs."),
)
