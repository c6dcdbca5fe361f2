"""Keeps one Alertmanager told: at once of what changed, and again and again of what lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

from streams.alerting.alert import Alert
from streams.alerting.alertmanager import Alertmanager, AlertsNotPosted, AlertsRefused
from streams.clock import monotonic, now
from streams.health import Health, Status
from streams.log import get_logger
from streams.metrics import Metrics

__all__ = ["BELIEVED_INTERVALS", "Sender"]

BELIEVED_INTERVALS = 4
"""An alert that is not told again for so many intervals ends by itself, as Prometheus has it."""
_SHORTEST_PAUSE_S = 0.5
_TURN_S = 1.0

log = get_logger(__name__)


class Sender:
    """A thread that posts; a further post is due at every change, and an interval after the last one that was taken.

    With no alerts it posts an empty list, so that an Alertmanager that is away is noticed before it is needed.

    Args:
        alerts: returns what is to be told now.
        interval_s: seconds between posts while nothing changes; after a failure less, and then more and more.
    """

    def __init__(
        self,
        alertmanager: Alertmanager,
        alerts: Callable[[], list[Alert]],
        interval_s: float,
        metrics: Metrics,
        health: Health,
    ) -> None:
        self._to, self._alerts, self._interval_s = alertmanager, alerts, interval_s
        self._metrics, self._health = metrics, health
        self._lasts = timedelta(seconds=BELIEVED_INTERVALS * interval_s)
        self._changed, self._stopping = threading.Event(), threading.Event()
        self._failures = 0
        self._last = monotonic()
        self._thread = threading.Thread(target=self._run, name=f"alerts to {alertmanager.url}", daemon=True)

    @property
    def loop(self) -> str:
        """Its name in the process's health."""
        return f"alertmanager {self._to.url}"

    def start(self) -> None:
        """Begin with a first post."""
        self._thread.start()

    def changed(self) -> None:
        """Say that there is something new to tell; returns at once."""
        self._changed.set()

    def stop(self, seconds: float) -> None:
        """Tell what is new, if that is possible within so many seconds, and end."""
        self._stopping.set()
        self._changed.set()
        self._thread.join(seconds)
        self._to.close()

    def _run(self) -> None:
        while True:
            stopping = self._stopping.is_set()
            self._changed.clear()
            self._post()
            if stopping:
                return
            self._wait()

    def _wait(self) -> None:
        """Wait for the next post; after a failure, a change is no reason to hurry."""
        due = monotonic() + self._pause()
        waiting = self._stopping if self._failures else self._changed
        while (left := due - monotonic()) > 0 and not waiting.wait(min(left, _TURN_S)):
            self._beat()

    def _pause(self) -> float:
        if not self._failures:
            return self._interval_s
        doubled: float = _SHORTEST_PAUSE_S * 2 ** min(self._failures - 1, 16)
        return min(self._interval_s, doubled)

    def _post(self) -> None:
        alerts = self._alerts()
        try:
            self._to.post(alerts, now(), self._lasts)
        except AlertsNotPosted as error:
            self._failed(error)
        else:
            if self._failures:
                log.info("alertmanager_back", url=self._to.url, failures=self._failures)
            self._failures, self._last = 0, monotonic()
            self._health.set(self.loop, Status.OK)
            self._metrics.alerts_posted.add(len(alerts), alertmanager=self._to.url)
        self._beat()

    def _failed(self, error: AlertsNotPosted) -> None:
        self._failures += 1
        reason = "refused" if isinstance(error, AlertsRefused) else "unanswered"
        self._metrics.alert_post_failures.add(alertmanager=self._to.url, reason=reason)
        self._health.set(self.loop, Status.DEGRADED, str(error))
        if self._failures == 1:
            log.warning("alerts_not_posted", url=self._to.url, reason=reason, error=str(error))

    def _beat(self) -> None:
        self._health.beat(self.loop)
        self._metrics.alert_post_age_seconds.set(monotonic() - self._last, alertmanager=self._to.url)
