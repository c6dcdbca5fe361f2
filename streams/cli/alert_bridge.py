"""`seamless alert-bridge`: tell Alertmanager of broken promises."""

from __future__ import annotations

import signal
import threading

from streams.cli.context import ConfigOption, WorldOption, settings_from

__all__ = ["alert_bridge"]


def alert_bridge(config: ConfigOption = None, world: WorldOption = None) -> None:
    """Tell Alertmanager of broken promises, while they are broken and when they are kept again, until stopped."""
    from streams.alerting.bridge import run_bridge

    settings = settings_from(config, world)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    run_bridge(settings, stop)
