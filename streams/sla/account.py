"""What an agent did, as metrics and log events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from streams.clock import monotonic, now_ms
from streams.log import get_logger
from streams.metrics import Metrics
from streams.sla.breach import Breach
from streams.sla.partition import Output, PartitionWindows

__all__ = ["Account"]

_TELL_EVERY_S = 60.0

log = get_logger("sla")

Labels = tuple[str, str, str, str]
"""Of breaches: objective, phase, severity and dataset; of budgets, the consumer in the place of the severity."""


class Account:
    """Keeps metrics up to date and logs what somebody may look for."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._open: dict[int, Counter[Labels]] = {}
        self._budgets: dict[int, set[Labels]] = {}
        self._shown: set[Labels] = set()
        self._windows: dict[int, int] = {}
        self._late: Counter[str] = Counter()
        self._tell_at = 0.0

    def wrote(self, output: Output, windows: PartitionWindows, partition: int) -> None:
        """Take account of what was written for a partition."""
        metrics, now = self._metrics, now_ms()
        metrics.sla_observations.add(output.observations)
        for series, count in output.late.items():
            metrics.sla_late_observations.add(count, phase=series.phase, dataset=series.dataset)
            self._late[str(series)] += count
        for end in output.closes:
            metrics.sla_window_close_seconds.observe(max(0.0, now / 1_000 - end / 1e9))
        for breach in output.breaches:
            self._told(breach)
        left = {(w.name, w.series.phase, w.series.consumer, w.series.dataset): share for w, share in windows.budgets()}
        for labels, share in left.items():
            metrics.sla_error_budget_remaining_ratio.set(share, **_of_budget(labels))
        self._forget_budgets(self._budgets.get(partition, set()) - left.keys())
        self._budgets[partition] = set(left)
        self._windows[partition] = windows.windows
        self._open[partition] = Counter((b.objective, b.phase, b.severity, b.dataset) for b in windows.open())
        self._totals()
        self._tell_late()

    def gone(self, partition: int) -> None:
        """Forget a partition that was given away."""
        self._windows.pop(partition, None)
        self._open.pop(partition, None)
        self._forget_budgets(self._budgets.pop(partition, ()))
        self._metrics.sla_agent_lag_records.remove(partition=str(partition))
        self._totals()

    def behind(self, partition: int, records: int | None) -> None:
        """Take account of how many records of a partition are still to be read."""
        if records is not None:
            self._metrics.sla_agent_lag_records.set(records, partition=str(partition))

    def unreadable(self, topic: str, partition: int, offset: int, error: Exception) -> None:
        """Take account of a record that is none."""
        self._metrics.sla_observations_unreadable.add()
        log.warning("sla_record_unreadable", topic=topic, partition=partition, offset=offset, error=str(error))

    def _told(self, breach: Breach) -> None:
        labels = {"objective": breach.objective, "phase": breach.phase, "dataset": breach.dataset}
        if breach.is_open:
            self._metrics.sla_breaches.add(**labels, severity=breach.severity)
        log.warning(
            f"sla_breach_{breach.state}",
            breach=breach.id,
            **labels,
            consumer=breach.consumer,
            severity=breach.severity,
            promise=breach.promise,
            observed=breach.observed,
            promised=breach.promised,
            window_end=breach.window_end.isoformat(),
            reason=breach.reason,
        )

    def _forget_budgets(self, gone: Iterable[Labels]) -> None:
        """Say no more of budgets that are over, or that another agent tells of: two would tell two things."""
        for labels in gone:
            self._metrics.sla_error_budget_remaining_ratio.remove(**_of_budget(labels))

    def _totals(self) -> None:
        self._metrics.sla_open_windows.set(sum(self._windows.values()))
        total = sum(self._open.values(), Counter[Labels]())
        for labels in self._shown | set(total):
            objective, phase, severity, dataset = labels
            self._metrics.sla_open_breaches.set(
                total[labels], objective=objective, phase=phase, severity=severity, dataset=dataset
            )
        self._shown |= set(total)

    def _tell_late(self) -> None:
        if self._late and monotonic() >= self._tell_at:
            self._tell_at = monotonic() + _TELL_EVERY_S
            log.warning("sla_observations_late", **dict(self._late.most_common(10)))
            self._late.clear()


def _of_budget(labels: Labels) -> dict[str, str]:
    return dict(zip(("objective", "phase", "consumer", "dataset"), labels, strict=True))
