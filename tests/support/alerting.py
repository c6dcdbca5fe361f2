"""Broken promises and who hears of them: breaches, a real Alertmanager, and a webhook that it calls."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Producer

from operations.stack.processes import ProcessRef, spawn
from operations.testing.ports import free_port
from streams import topics
from streams.clients import producer_config
from streams.clock import Deadline, monotonic
from streams.events import EventCodec
from streams.schema_admin import register_subjects, wanted_subjects
from streams.sla.breach import EVENT, Breach, breach_id
from streams.topic_admin import TopicAdmin
from tests.support.progress import until
from tests.support.worlds import DATASET, World

__all__ = ["Alertmanager", "Breaches", "Webhook", "a_breach", "listening", "prepare_breaches"]

PROGRAM = "prometheus-alertmanager"
_CONFIG = """
route:
  receiver: hook
  group_by: ["..."]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: hook
    webhook_configs:
      - url: {url}
        send_resolved: true
"""


def a_breach(world: str, **changes: Any) -> Breach:
    """Return a breach of today that has just opened; `changes` replace fields."""
    opened = datetime.now(UTC).replace(microsecond=0)
    wanted: dict[str, Any] = {
        "sequence": 0,
        "state": "opened",
        "severity": "warning",
        "objective": "quick",
        "kind": "quantile",
        "promise": "p99 of total <= 2 s over 300 s",
        "dataset": DATASET,
        "consumer": "alpha",
        "phase": "total",
        "window_start": opened - timedelta(minutes=5),
        "window_end": opened,
        "promised": 2.0,
        "observed": 3.25,
        "unit": "seconds",
        "opened_at": opened,
        "at": opened,
        **changes,
    }
    identity = (wanted["objective"], wanted["dataset"], wanted["consumer"], wanted["phase"])
    began = int(wanted["opened_at"].timestamp())
    return Breach(**{"id": breach_id(world, *identity, began), "world": world, **wanted})


def prepare_breaches(world: World) -> str:
    """Create the topic of breaches and register its schema; return its name."""
    topic = topics.sla_breaches(world.name)
    TopicAdmin(world.settings.kafka).apply([t for t in topics.topics_for(world.settings) if t.name == topic])
    subject = topics.subject(topic)
    register_subjects(world.registry, [w for w in wanted_subjects(world.settings) if w.subject == subject])
    return topic


class Breaches:
    """Writes breaches as the agent does."""

    def __init__(self, world: World) -> None:
        self.topic = prepare_breaches(world)
        self._settings = world.settings
        self._codec = EventCodec(world.registry, self.topic, EVENT)
        self._producer = Producer(producer_config(world.settings))

    def write(self, *breaches: Breach) -> None:
        """Write records and wait until they are there."""
        for breach in breaches:
            self._producer.produce(self.topic, self._codec.encode(breach.datum()), breach.key)
        assert self._producer.flush(30) == 0

    def write_and_abort(self, breach: Breach) -> None:
        """Write a record in a transaction that is never committed."""
        config = producer_config(self._settings, transactional_id=f"{self.topic}.test")
        producer = Producer(config)
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(self.topic, self._codec.encode(breach.datum()), breach.key)
        assert producer.flush(30) == 0
        producer.abort_transaction(30)

    def write_junk(self) -> None:
        """Write what is no breach."""
        self._producer.produce(self.topic, b"no breach", b"key")
        assert self._producer.flush(30) == 0


class Webhook:
    """Keeps what is posted to it.

    Attributes:
        url: its address.
        calls: bodies, with the time of the monotonic clock at which each came.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.calls: list[tuple[float, dict[str, Any]]] = []

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """Return the alerts that were told of, in their order, with these labels."""
        told = [alert for _, body in self.calls for alert in body["alerts"]]
        return [alert for alert in told if labels.items() <= alert["labels"].items()]

    def await_alert(self, status: str, seconds: float = 30.0, **labels: str) -> dict[str, Any]:
        """Wait for the first alert of a status and labels."""

        def found() -> list[dict[str, Any]]:
            return [alert for alert in self.alerts(**labels) if alert["status"] == status]

        until(lambda: bool(found()), seconds, f"an alert {status} with {labels}", lambda: json.dumps(self.calls))
        return found()[0]


@contextmanager
def listening() -> Iterator[Webhook]:
    """Listen for posts on the loopback while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.calls.append((monotonic(), json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook = Webhook(f"http://127.0.0.1:{server.server_port}/")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Alertmanager:
    """A real Alertmanager that calls a webhook at once; a context manager."""

    def __init__(self, tool: Callable[[str], Path], folder: Path, hook: Webhook) -> None:
        self._program, self._folder = tool(PROGRAM), folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "alertmanager.yml").write_text(_CONFIG.format(url=hook.url), "utf-8")
        self._runs = 0
        self._process: ProcessRef | None = None

    def start(self) -> None:
        """Start it, with nothing in memory or on disk, and wait until it answers."""
        self._runs += 1
        command = [
            str(self._program),
            f"--config.file={self._folder}/alertmanager.yml",
            f"--storage.path={self._folder}/data-{self._runs}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]
        log = self._folder / "alertmanager.log"
        self._process = spawn(command, log=log, cwd=self._folder, env={}, die_with_parent=True)
        until(self._ready, 30, "Alertmanager", log.read_text)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()

    def firing(self, **labels: str) -> list[dict[str, Any]]:
        """Return the alerts that it has as active, with these labels."""
        matchers = [f'{name}="{value}"' for name, value in labels.items()]
        answer = httpx.get(f"{self.url}/api/v2/alerts", params={"filter": matchers}, trust_env=False)
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found

    def __enter__(self) -> Alertmanager:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self._process is not None:
            assert self._process.wait(Deadline(10))

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=1, trust_env=False).is_success
        except httpx.HTTPError:
            return False
