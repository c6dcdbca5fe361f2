"""Where the benchmark's Kafka comes from: an embedded stack of its own, or addresses that were given."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from benchmarks.broker import Broker
from operations.stack import EmbeddedStack

__all__ = ["running_broker"]

#: More than the stack's own default, so that the broker's collector is not what is measured.
_HEAP = "1g"


@contextmanager
def running_broker(
    bootstrap: str | None, registry_url: str | None, console: Console, settings: Mapping[str, str] | None = None
) -> Iterator[Broker]:
    """Yield the given cluster, or a fresh one that lives as long as the block and leaves nothing behind.

    `settings` are those of a fresh broker that differ from the stack's own.
    """
    if bootstrap is not None and registry_url is not None:
        yield Broker(bootstrap, registry_url)
        return
    with tempfile.TemporaryDirectory(prefix="seamless-bench-") as folder:
        stack = EmbeddedStack(
            Path(folder),
            kafka_heap=_HEAP,
            kafka_settings=settings,
            die_with_parent=True,
            train=False,
            notify=lambda text: console.print(f"[dim]stack: {text}[/dim]"),
        )
        with stack:
            yield Broker(stack.bootstrap_servers, stack.registry_url)
