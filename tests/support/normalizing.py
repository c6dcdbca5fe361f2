"""Normalizers inside the test's process: one run to the end, or a thread while a block runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from streams.health import Health
from streams.metrics import Metrics
from streams.normalizer import Normalizer
from streams.registry import Registry
from streams.settings import Settings
from tests.support.worlds import DATASET, World

__all__ = ["Run", "normalize", "normalizing", "value_of"]


class Run:
    """A normalizer with what it tells the outside; `error` is what ended it."""

    def __init__(
        self,
        world: World,
        *,
        settings: Settings | None = None,
        registry: Registry | None = None,
        accept_loss: bool = False,
        instance: str | None = None,
    ) -> None:
        chosen = settings or world.settings
        if instance is not None:
            chosen = chosen.model_copy(
                update={"normalizer": chosen.normalizer.model_copy(update={"instance": instance})}
            )
        self.metrics, self.health = Metrics(world.name), Health()
        self.normalizer = Normalizer(
            chosen, DATASET, registry or world.registry, self.metrics, self.health, accept_loss=accept_loss
        )
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self.thread: threading.Thread | None = None

    def to_end(self) -> Run:
        """Normalize all rows that exist now, in this thread."""
        self.normalizer.run(self.stop, until_end=True)
        return self

    def start(self, *, until_end: bool = False) -> None:
        self.thread = threading.Thread(target=self._work, args=(until_end,), daemon=True)
        self.thread.start()

    def _work(self, until_end: bool) -> None:
        try:
            self.normalizer.run(self.stop, until_end=until_end)
        except BaseException as error:
            self.error = error

    @property
    def alive(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def end(self, seconds: float = 60.0) -> None:
        """Ask it to end and wait until it has."""
        self.stop.set()
        if self.thread is not None:
            self.thread.join(seconds)
            assert not self.thread.is_alive(), "the normalizer does not end"

    def value(self, metric: str, **labels: str) -> float:
        """Return a metric's value."""
        return value_of(self.metrics, metric, **labels)


def normalize(world: World, **arguments: Any) -> Run:
    """Normalize all rows that exist now; the arguments are those of `Run`."""
    return Run(world, **arguments).to_end()


@contextmanager
def normalizing(world: World, **arguments: Any) -> Iterator[Run]:
    """Normalize in a thread while the block runs; an error that the test did not look at fails it."""
    run = Run(world, **arguments)
    run.start()
    try:
        yield run
    finally:
        run.end()
    if run.error is not None:
        raise run.error


def value_of(metrics: Metrics, name: str, **labels: str) -> float:
    """Return a metric's value as `/metrics` shows it; 0 where there is no such series."""
    wanted = {f'{k}="{v}"' for k, v in labels.items()}
    for line in metrics.render().decode().splitlines():
        if line.startswith((name + "{", name + " ")) and wanted <= set(
            line[line.find("{") + 1 : line.find("}")].split(",")
        ):
            return float(line.rsplit(" ", 1)[1])
    return 0.0
