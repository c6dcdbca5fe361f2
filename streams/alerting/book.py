"""Which alerts there are: folded from the records of breaches, by labels, as Alertmanager tells alerts apart."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from streams.alerting.alert import Alert, Labels, labels_of, of_breach
from streams.sla.breach import Breach, Severity

__all__ = ["RESOLVED_FOR", "AlertBook"]

RESOLVED_FOR = timedelta(minutes=15)
"""How long a resolved alert is told again, as Prometheus does, so that an Alertmanager that was away hears of it."""
_MOST_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class _Ended:
    alert: Alert
    until: datetime


class AlertBook:
    """Alerts that fire, and those that were resolved lately. Pure: time is an argument.

    Records of one breach must come in order; of several breaches they may come in any. A record that comes twice, or
    after a later one of its breach, changes nothing.

    Args:
        labels: of every alert, besides those of the breach.
        generator_url: where an alert leads whose breach names no dashboard.
    """

    def __init__(self, labels: Mapping[str, str] | None = None, generator_url: str | None = None) -> None:
        self._more, self._generator_url = dict(labels or {}), generator_url
        self._open: dict[str, Breach] = {}
        self._ended: dict[Labels, _Ended] = {}
        # Of breaches that are over: a record of theirs that is written again must not open them again.
        self._over: OrderedDict[str, int] = OrderedDict()

    def apply(self, breach: Breach, heard: datetime | None = None) -> bool:
        """Take a record; return whether anything changed.

        Args:
            heard: when; None for a record of the past, which is taken to have been heard when its state began.
        """
        known = self._open.get(breach.id)
        if breach.id in self._over or (known is not None and breach.sequence <= known.sequence):
            return False
        until = (heard or breach.at) + RESOLVED_FOR
        labels = labels_of(breach, self._more)
        if known is not None and (before := labels_of(known, self._more)) != labels:
            # Another severity is another alert.
            ended = of_breach(known, self._more, self._generator_url)
            self._end(Alert(before, ended.annotations, ended.starts_at, breach.at, ended.generator_url), until)
        if breach.is_open:
            self._open[breach.id] = breach
        else:
            self._open.pop(breach.id, None)
            self._remember(breach)
            self._end(of_breach(breach, self._more, self._generator_url), until)
        return True

    def posts(self, now: datetime) -> list[Alert]:
        """Return what is to be told: every alert that fires, and those that ended lately."""
        firing: dict[Labels, Alert] = {}
        for breach in sorted(self._open.values(), key=lambda each: (each.opened_at, each.id)):
            alert = of_breach(breach, self._more, self._generator_url)
            firing.setdefault(alert.labels, alert)
        self._ended = {
            labels: ended for labels, ended in self._ended.items() if ended.until > now and labels not in firing
        }
        return [*firing.values(), *(ended.alert for ended in self._ended.values())]

    def open_by_severity(self) -> dict[Severity, int]:
        """Return how many breaches are open."""
        counted = Counter(breach.severity for breach in self._open.values())
        return {"warning": counted["warning"], "critical": counted["critical"]}

    def _end(self, alert: Alert, until: datetime) -> None:
        self._ended[alert.labels] = _Ended(alert, until)

    def _remember(self, breach: Breach) -> None:
        self._over[breach.id] = breach.sequence
        if len(self._over) > _MOST_REMEMBERED:
            self._over.popitem(last=False)
