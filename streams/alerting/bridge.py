"""The alert bridge: breaches from Kafka to every Alertmanager, and the process around it."""

from __future__ import annotations

import threading

from streams.alerting.alert import Alert
from streams.alerting.alertmanager import Alertmanager
from streams.alerting.book import AlertBook
from streams.alerting.feed import BreachFeed
from streams.alerting.sender import Sender
from streams.clock import now
from streams.errors import SettingsError
from streams.health import MAIN_LOOP, Health, HealthServer
from streams.log import get_logger
from streams.metrics import Metrics
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["run_bridge"]

_TURN_S = 0.25
_SILENCE_S = 30.0
_GOODBYE_S = 5.0

log = get_logger(__name__)


def run_bridge(settings: Settings, stop: threading.Event) -> None:
    """Keep every Alertmanager told of what promises are broken, until stopped.

    It keeps nothing: what is open is read from the topic again at the start, before anything is told, and any number of
    bridges may run side by side, as Alertmanager takes their equal alerts for one.

    Raises:
        SettingsError: if no Alertmanager is configured.
        RegistryError, BrokerError: if breaches cannot be read.
    """
    alerting = settings.alerting
    if not alerting.alertmanagers:
        raise SettingsError(
            "there is no Alertmanager to tell: set seamless.alerting.alertmanagers, as in "
            '["http://localhost:9093"], or SEAMLESS_ALERTING__ALERTMANAGERS'
        )
    urls = [str(url) for url in dict.fromkeys(alerting.alertmanagers)]
    metrics = Metrics(settings.world)
    book = AlertBook(alerting.labels, None if alerting.generator_url is None else str(alerting.generator_url))
    lock = threading.Lock()

    def alerts() -> list[Alert]:
        with lock:
            return book.posts(now())

    managers = [Alertmanager(url, alerting) for url in urls]
    loops = [MAIN_LOOP, *(f"alertmanager {manager.url}" for manager in managers)]
    health = Health(silence_limit=alerting.timeout_s + _SILENCE_S, loops=loops)
    senders = [Sender(each, alerts, alerting.resend_interval_s, metrics, health) for each in managers]
    with Registry(settings.registry) as registry, HealthServer(settings.metrics, metrics, health) as server:
        feed = BreachFeed(settings, registry, stop)
        log.info("alert_bridge_started", world=settings.world, alertmanagers=urls, metrics=server.url)
        for breach in feed.past():
            book.apply(breach)
            health.beat()
        _count(metrics, book)
        log.info("alert_bridge_caught_up", open=sum(book.open_by_severity().values()))
        for sender in senders:
            sender.start()
        try:
            for breaches in feed.following(_TURN_S):
                health.beat()
                with lock:
                    changed = [breach for breach in breaches if book.apply(breach, now())]
                for breach in changed:
                    log.info("breach_heard", id=breach.id, state=breach.state, severity=breach.severity,
                             objective=breach.objective, dataset=breach.dataset)  # fmt: skip
                if changed:
                    _count(metrics, book)
                    for sender in senders:
                        sender.changed()
        finally:
            for sender in senders:
                sender.stop(_GOODBYE_S)


def _count(metrics: Metrics, book: AlertBook) -> None:
    for severity, count in book.open_by_severity().items():
        metrics.alerts_open.set(count, severity=severity)
