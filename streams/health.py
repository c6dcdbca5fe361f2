"""How a process is, and the small HTTP server that says so at `/healthz`, with metrics at `/metrics`."""

from __future__ import annotations

import errno
import json
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from streams import clock
from streams.errors import SettingsError
from streams.metrics import CONTENT_TYPE, Metrics
from streams.settings_sections import MetricsSettings

__all__ = ["Health", "HealthReport", "HealthServer", "Status"]

MAIN_LOOP = "main loop"


class Status(StrEnum):
    """How well something does its work; the order is from good to bad."""

    OK = "ok"
    DEGRADED = "degraded"  # it works, and somebody should look: one of several datasets is stopped
    STOPPED = "stopped"  # it does no work; start it again


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The worst status of all parts, and a reason for each part that is not ok."""

    status: Status
    reasons: tuple[str, ...]


class Health:
    """The state of a process, part by part (a dataset, the registry); any thread may set or read it.

    With `silence_limit` (seconds), a process of which one of the `loops` has not called `beat` for so long is reported
    as stopped: a loop that hangs cannot report itself.
    """

    def __init__(
        self,
        *,
        silence_limit: float | None = None,
        loops: Iterable[str] = (MAIN_LOOP,),
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._silence_limit = silence_limit
        self._monotonic = monotonic
        self._beats = dict.fromkeys(loops, monotonic())
        self._parts: dict[str, tuple[Status, str]] = {}
        self._lock = threading.Lock()

    def beat(self, loop: str = MAIN_LOOP) -> None:
        """Say that a loop goes round."""
        with self._lock:
            self._beats[loop] = self._monotonic()

    def ended(self, loop: str = MAIN_LOOP) -> None:
        """Say that a loop has ended, so that its silence means nothing."""
        with self._lock:
            self._beats.pop(loop, None)

    def set(self, part: str, status: Status, reason: str = "") -> None:
        """Say how a part is; `ok` forgets its earlier reason. Any other status needs a reason."""
        if status is not Status.OK and not reason:
            raise ValueError(f"{part} is {status} for no reason given")
        with self._lock:
            self._parts[part] = (status, reason)

    def report(self) -> HealthReport:
        """Return how the process is now."""
        with self._lock:
            parts = sorted(self._parts.items())
            beats = sorted(self._beats.items())
        worst = [status for _, (status, _) in parts]
        reasons = [f"{part}: {reason}" for part, (status, reason) in parts if status is not Status.OK]
        now = self._monotonic()
        for loop, last in beats if self._silence_limit is not None else ():
            if now - last > (self._silence_limit or 0.0):
                worst.append(Status.STOPPED)
                reasons.append(f"{loop}: silent for {now - last:.0f} s, more than {self._silence_limit:g} s")
        order = list(Status)
        return HealthReport(max(worst, key=order.index, default=Status.OK), tuple(reasons))


class HealthServer:
    """Serves `/metrics` and `/healthz` from a daemon thread; a context manager, or start and stop by hand.

    `/healthz` answers 200 while the process works (ok or degraded) and 503 when it is stopped.
    """

    def __init__(self, settings: MetricsSettings, metrics: Metrics, health: Health) -> None:
        self._settings = settings
        self._metrics = metrics
        self._health = health
        self._server: _Server | None = None

    @property
    def url(self) -> str | None:
        """Return the address that it serves, without a path; None while it does not."""
        if self._server is None:
            return None
        host, port = self._server.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{shown}:{port}"

    def start(self) -> None:
        """Begin to serve, unless the settings say no; SettingsError if the address cannot be had."""
        if not self._settings.enabled or self._server is not None:
            return
        try:
            server = _Server(self._settings, _handler(self._metrics, self._health))
        except OSError as error:
            raise SettingsError(_why_not(self._settings, error)) from error
        threading.Thread(target=server.serve_forever, args=(0.1,), name="health", daemon=True).start()
        self._server = server

    def stop(self) -> None:
        """Stop serving and free the port; nothing happens if it does not serve."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def __enter__(self) -> HealthServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, settings: MetricsSettings, handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in settings.host:
            self.address_family = socket.AF_INET6
        super().__init__((settings.host, settings.port), handler)

    def server_bind(self) -> None:
        # HTTPServer's own looks up the host's name, which may take seconds without a name server
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a scraper that hangs up is no event."""


def _handler(metrics: Metrics, health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(HTTPStatus.OK, CONTENT_TYPE, metrics.render())
            elif path == "/healthz":
                report = health.report()
                stopped = report.status is Status.STOPPED
                body = json.dumps({"status": report.status.value, "reasons": report.reasons})
                status = HTTPStatus.SERVICE_UNAVAILABLE if stopped else HTTPStatus.OK
                self._answer(status, "application/json", body.encode())
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"only /metrics and /healthz are here\n")

        def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
            """Say nothing: a line for every scrape drowns the log."""

    return Handler


def _why_not(settings: MetricsSettings, error: OSError) -> str:
    where = f"{settings.host} port {settings.port}"
    if error.errno == errno.EADDRINUSE:
        return f"Metrics cannot be served at {where}: the port is taken. Set seamless.metrics.port to 0."
    if error.errno == errno.EACCES:
        return f"Metrics cannot be served at {where}: not allowed. Set seamless.metrics.port to 0."
    return (
        f"Metrics cannot be served at {where}: {error.strerror or error}. "
        "Set seamless.metrics.host to an address of this machine, such as 127.0.0.1."
    )
