"""An alert as Alertmanager takes it, and how a breach becomes one.

Source: Alertmanager's API v2 (`postableAlert` of its `api/v2/openapi.yaml`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from streams.durations import spelled
from streams.sla.breach import Breach, Unit

__all__ = ["NAMES", "Alert", "Labels", "labels_of", "of_breach"]

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""What an alert is told apart by, sorted by name."""

NAMES: Final[Mapping[str, str]] = {
    "quantile": "SeamlessSLADeadlineMissed",
    "budget": "SeamlessSLABudgetBurning",
    "staleness": "SeamlessSLADataStale",
    "completeness": "SeamlessSLABackfillIncomplete",
    "conformance": "SeamlessSLANotConforming",
}
"""The alert's name by the kind of the objective."""

_MOST_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert: it fires until `ends_at`, or while that is None."""

    labels: Labels
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None = None
    generator_url: str | None = None

    def body(self, now: datetime, lasts: timedelta) -> dict[str, Any]:
        """Return it as it is posted.

        Args:
            lasts: how long one that fires is believed if nothing more is heard of it.
        """
        # Breaches are told in event time, which may be ahead of this clock; an alert may not end before it starts.
        starts = min(self.starts_at, now)
        ends = now + lasts if self.ends_at is None else max(starts, min(self.ends_at, now))
        body: dict[str, Any] = {
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "startsAt": _text(starts),
            "endsAt": _text(ends),
        }
        if self.generator_url is not None:
            body["generatorURL"] = self.generator_url
        return body


def labels_of(breach: Breach, more: Mapping[str, str]) -> Labels:
    """Return the labels of a breach's alert; `more` are those of the settings."""
    named = {
        **more,
        "alertname": NAMES.get(breach.kind, "SeamlessSLABroken"),
        "world_id": breach.world,
        "objective": breach.objective,
        "dataset": breach.dataset,
        "phase": breach.phase,
        "severity": breach.severity,
        "consumer": breach.consumer,
        "subject": breach.subject,
        "synthetic": "true" if breach.synthetic else None,
    }
    return tuple(sorted((name, value) for name, value in named.items() if value))


def of_breach(breach: Breach, more: Mapping[str, str], generator_url: str | None) -> Alert:
    """Return the alert of a breach as it is: firing, or ended if the breach is resolved."""
    return Alert(
        labels_of(breach, more),
        _annotations(breach),
        breach.opened_at,
        None if breach.is_open else breach.at,
        breach.dashboard_url or generator_url,
    )


def _annotations(breach: Breach) -> dict[str, str]:
    of = f" of {breach.subject}" if breach.subject else ""
    to = f" for {breach.consumer}" if breach.consumer else ""
    observed = "nothing was observed" if breach.observed is None else f"observed {_shown(breach.observed, breach.unit)}"
    window = f"{_text(breach.window_start)} to {_text(breach.window_end)}"
    told = {
        "summary": f"{breach.dataset}{to}: {breach.phase}{of} is not as promised ({breach.objective})",
        "description": f"Promised: {breach.promise}. From {window} there was {observed}, "
        f"and the limit is {_shown(breach.promised, breach.unit)}.",
        "breach_id": breach.id,
        "runbook_url": breach.runbook_url,
        "dashboard_url": breach.dashboard_url,
        "burn": "; ".join(
            f"{burn.long_rate:.3g} over {spelled(burn.long_seconds)} and {burn.short_rate:.3g} over "
            f"{spelled(burn.short_seconds)}, at most {burn.threshold:g}"
            for burn in breach.burn
        ),
        "examples": ", ".join(
            f"{example.fetch_id} ({spelled(example.elapsed_seconds)})" for example in breach.examples[:_MOST_EXAMPLES]
        ),
        "resolved": breach.reason,
    }
    return {name: value for name, value in told.items() if value}


def _shown(value: float, unit: Unit) -> str:
    match unit:
        case "seconds":
            return spelled(value)
        case "ratio":
            return f"{value:.4%}"
    return f"{value:.3g} times the even pace"


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
