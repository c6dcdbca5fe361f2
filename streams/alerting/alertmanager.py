"""Posts to one Alertmanager, through its API v2."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import httpx

from streams.alerting.alert import Alert
from streams.errors import SeamlessError
from streams.settings_alerting import AlertingSettings

__all__ = ["Alertmanager", "AlertsNotPosted", "AlertsRefused"]

_PATH: Final = "api/v2/alerts"
_AT_ONCE = 256
_SHOWN = 300


class AlertsNotPosted(SeamlessError):  # noqa: N818 - an outcome
    """An Alertmanager could not be reached, or could not do its work."""


class AlertsRefused(AlertsNotPosted):
    """An Alertmanager does not take what it was sent; the rest of the same post may have been taken."""


class Alertmanager:
    """One Alertmanager; to be closed.

    Args:
        url: its root; of several in a cluster, each is told by itself.
    """

    def __init__(self, url: str, settings: AlertingSettings) -> None:
        self.url = f"{url.rstrip('/')}/"
        auth = None
        if settings.user is not None and settings.password is not None:
            auth = httpx.BasicAuth(settings.user, settings.password.get_secret_value())
        # Whoever watches must not depend on a proxy that happens to be in the environment.
        self._client = httpx.Client(timeout=settings.timeout_s, auth=auth, trust_env=False)

    def post(self, alerts: Iterable[Alert], now: datetime, lasts: timedelta) -> None:
        """Tell it of alerts; without any, only ask whether it would listen.

        Raises:
            AlertsRefused: if it says that an alert or the caller is wrong.
            AlertsNotPosted: if it does not answer, or answers that something is wrong with itself.
        """
        bodies = [alert.body(now, lasts) for alert in alerts]
        for start in range(0, max(1, len(bodies)), _AT_ONCE):
            try:
                answer = self._client.post(self.url + _PATH, json=bodies[start : start + _AT_ONCE])
            except httpx.HTTPError as error:
                raise AlertsNotPosted(
                    f"Alertmanager at {self.url} does not answer: {error or type(error).__name__}. Check that it runs "
                    "and that seamless.alerting.alertmanagers is right."
                ) from None
            if answer.is_success:
                continue
            said = f"Alertmanager at {self.url} answers {answer.status_code}: {answer.text[:_SHOWN].strip()}"
            raise (AlertsRefused if answer.is_client_error else AlertsNotPosted)(said)

    def active(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the alerts with these labels that it has as firing, as its API tells them.

        Raises:
            AlertsNotPosted: if it does not answer.
        """
        matchers = [f"{name}={json.dumps(value)}" for name, value in labels.items()]
        try:
            answer = self._client.get(self.url + _PATH, params={"filter": matchers})
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise AlertsNotPosted(f"Alertmanager at {self.url} does not say what fires: {error}") from None
        found: list[dict[str, Any]] = answer.json()
        return found

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()
