"""From a breach's record to whoever is told of it, with few and many open: `python -m benchmarks.alerts`.

The bridge is a process of its own; a listener stands where Alertmanager does, and answers at once. What Alertmanager
itself takes is set by `group_wait` of its configuration.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from time import sleep

import psutil
import typer
from rich.console import Console
from rich.table import Table

from operations.stack import EmbeddedStack
from operations.testing.processes import Process
from operations.testing.worlds import SeamlessWorld, settings_of
from streams import topics
from streams.clients import producer_config
from streams.clock import Deadline, monotonic, now
from streams.delivery import Delivery
from streams.events import EventCodec
from streams.registry import Registry
from streams.sla.breach import EVENT, Breach, breach_id

OPEN = 10_000
_DEADLINE_S = 120.0


class Listener:
    """Notes when each breach was first told of."""

    def __init__(self) -> None:
        self.heard: dict[str, float] = {}
        self.url = ""

    @contextmanager
    def listening(self) -> Iterator[None]:
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                at = monotonic()
                for alert in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
                    heard.setdefault(alert["annotations"]["breach_id"], at)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()


def breach(world: str, number: int) -> Breach:
    at = now()
    name = f"objective-{number}"
    return Breach(
        id=breach_id(world, name, "bars", "reader", "total", number), sequence=0, state="opened", severity="warning",
        world=world, objective=name, kind="quantile", promise="p99 of total <= 2 s over 300 s", dataset="bars",
        consumer="reader", phase="total", window_start=at - timedelta(minutes=5), window_end=at, promised=2.0,
        observed=3.0, unit="seconds", opened_at=at, at=at,
    )  # fmt: skip


def until(condition: Callable[[], bool], process: Process) -> None:
    deadline = Deadline(_DEADLINE_S)
    while not condition():
        if deadline.passed() or not process.alive():
            raise SystemExit(process.output())
        sleep(0.001)


def measured(world: SeamlessWorld, listener: Listener, count: int) -> dict[str, float]:
    """Return milliseconds from the write of a breach to its alert, and seconds and memory of many at once."""
    bridge = world.run("alert-bridge")
    until(lambda: "alert_bridge_caught_up" in bridge.output(), bridge)
    topic = topics.sla_breaches(world.name)
    with Registry(world.settings.registry) as registry:
        codec = EventCodec(registry, topic, EVENT)
    delivery = Delivery(producer_config(world.settings), topic)

    def write(*breaches: Breach) -> float:
        began = monotonic()
        delivery.send([codec.encode(each.datum()) for each in breaches], [each.key for each in breaches])
        delivery.flush(_DEADLINE_S)
        return began

    took = []
    for number in range(count):
        one = breach(world.name, number)
        began = write(one)
        until(lambda one=one: one.id in listener.heard, bridge)  # type: ignore[misc]
        took.append((listener.heard[one.id] - began) * 1_000)
    many = [breach(world.name, count + number) for number in range(OPEN)]
    began = write(*many)
    until(lambda: all(each.id in listener.heard for each in many), bridge)
    all_after = max(listener.heard[each.id] for each in many) - began
    memory = psutil.Process(bridge.pid).memory_info().rss / 1e6
    took.sort()
    return {"p50_ms": median(took), "p99_ms": took[int(0.99 * len(took))], "many_s": all_after, "mb": memory}


def main(count: int = typer.Option(200, help="Breaches that are told one by one."), as_json: bool = False) -> None:
    """Measure the alert bridge."""
    listener = Listener()
    with tempfile.TemporaryDirectory() as name, listener.listening():
        folder = Path(name)
        with EmbeddedStack(folder / "stack", die_with_parent=True) as stack:
            values = {
                "world": "bench",
                "kafka": {"bootstrap_servers": stack.bootstrap_servers},
                "registry": {"url": stack.registry_url},
                "alerting": {"alertmanagers": [listener.url]},
            }
            with SeamlessWorld(stack, settings_of(None, values, folder)) as world:
                found = measured(world, listener, count)
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table("from a breach to its alert", "", title="alert bridge")
    table.add_row("one by one, p50", f"{found['p50_ms']:,.0f} ms")
    table.add_row("one by one, p99", f"{found['p99_ms']:,.0f} ms")
    table.add_row(f"{OPEN:,} at once, all told", f"{found['many_s']:.1f} s")
    table.add_row(f"memory with {OPEN:,} open", f"{found['mb']:,.0f} MB")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
