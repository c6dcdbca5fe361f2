"""Whoever is told of alerts in the demo: Alertmanager if it is installed, else the bridge, speaks to a loopback port.

Sources: Alertmanager's API v2 (`postableAlerts` of its `api/v2/openapi.yaml`), and the body of its webhook receiver
(https://prometheus.io/docs/alerting/latest/configuration/#webhook_config).
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from operations.stack.ports import LOOPBACK, free_ports
from operations.stack.processes import spawn
from streams.clock import now

__all__ = ["Notice", "Pager", "paging"]

_PROGRAMS = ("prometheus-alertmanager", "alertmanager")  # as Debian calls it, and as its own releases do
_WEBHOOK, _API = "/webhook", "/api/v2/alerts"
_CONFIG = """\
route:
  receiver: demo
  group_by: ["..."]
  group_wait: 0s
  group_interval: 1s
receivers:
  - name: demo
    webhook_configs:
      - url: {url}
        send_resolved: true
"""


@dataclass(frozen=True, slots=True)
class Notice:
    """An alert as it was told; `at` is when that was."""

    at: datetime
    firing: bool
    labels: dict[str, str]
    annotations: dict[str, str]


class Pager:
    """Keeps what it is told, from several threads.

    Attributes:
        url: what the bridge is to take for an Alertmanager.
        alertmanager: the program that is one, and tells the pager in its turn; None if the pager takes its place.
    """

    def __init__(self, url: str, alertmanager: Path | None) -> None:
        self.url, self.alertmanager = url, alertmanager
        self._lock = threading.Lock()
        self._notices: list[Notice] = []

    def take(self, alerts: list[dict[str, Any]]) -> None:
        """Take alerts of the API or of a webhook; the former says by its end alone whether an alert fires."""
        at = now()
        found = [
            Notice(
                at,
                each["status"] == "firing" if "status" in each else datetime.fromisoformat(each["endsAt"]) > at,
                each["labels"],
                each["annotations"],
            )
            for each in alerts
        ]
        with self._lock:
            self._notices += found

    def of(self, breach: str) -> list[Notice]:
        """Return what it was told of a breach, each change once."""
        with self._lock:
            mine = [each for each in self._notices if each.annotations.get("breach_id") == breach]
        return [
            each
            for before, each in zip([None, *mine], mine, strict=False)
            if not before or each.firing != before.firing
        ]


@contextmanager
def paging(folder: Path) -> Iterator[Pager]:
    """Listen while the block runs; with an Alertmanager in between if there is one on the path.

    Args:
        folder: for its configuration, its data and its log.
    """
    found = next((Path(path) for name in _PROGRAMS if (path := shutil.which(name))), None)
    ports = free_ports(1)
    with _listening() as server:
        own = f"http://{LOOPBACK}:{server.server_port}"
        pager = server.pager = Pager(own if found is None else f"http://{LOOPBACK}:{ports[0]}", found)
        if found is None:
            yield pager
            return
        folder.mkdir(exist_ok=True)
        config = folder / "alertmanager.yml"
        config.write_text(_CONFIG.format(url=own + _WEBHOOK), encoding="utf-8")
        process = spawn(
            [
                str(found),
                f"--config.file={config}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address={LOOPBACK}:{ports[0]}",
                "--cluster.listen-address=",
            ],
            log=folder / "alertmanager.log",
            cwd=folder,
            env=os.environ,
            die_with_parent=True,
        )
        try:
            yield pager
        finally:
            process.kill()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    pager: Pager


@contextmanager
def _listening() -> Iterator[_Server]:
    server = _Server((LOOPBACK, 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="pager", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.path in {_WEBHOOK, _API}
        if known:
            self.server.pager.take(body["alerts"] if self.path == _WEBHOOK else body)
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing: the demo tells what it was told."""
