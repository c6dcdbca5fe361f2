"""What an operator does and sees: asks for history, gives orders, looks how far it is; one connection for all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from coordinator.lease_event import LeaseChange, LeaseEvent
from coordinator.lease_log import lease_events
from coordinator.local import LocalBackfillCoordinator
from coordinator.protocol import BackfillRequest, JobStatus, ShardStatus
from coordinator.records import ControlPlane
from coordinator.shards import Progress, Shard, ShardState
from tests.support.bars import MINUTE, START
from tests.support.progress import until
from tests.support.working import history, minute
from tests.support.worlds import DATASET, World

__all__ = ["PLUGINS", "Operator", "Row", "bars_from", "minutes_of", "operating", "sources_installed"]

PLUGINS = Path(__file__).parent / "plugins"
Row = tuple[str, int]


@contextmanager
def sources_installed() -> Iterator[None]:
    """Install the sources of `plugins/seamless_test_sources.py` in this process while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PLUGINS)
        yield


def bars_from(minutes: int, **options: Any) -> str:
    """Return a source of test bars; see `plugins/seamless_test_sources.py`."""
    return f"test:{minutes}" + (f"?{urlencode(options)}" if options else "")


class Operator:
    """Gives orders in a world, and looks at what becomes of them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.coordinator = LocalBackfillCoordinator(world.settings, world.registry)
        self.plane = ControlPlane.prepare(world.settings, world.registry)

    @staticmethod
    def request(source: str, symbols: list[str], minutes: int, **changes: Any) -> BackfillRequest:
        """Return a request for the first bars of symbols; by default each shard has about 100 rows."""
        wanted = {
            "dataset": DATASET,
            "symbols": tuple(symbols),
            "start": minute(0),
            "end": minute(minutes),
            "source": source,
            "target_rows": 100,
            **changes,
        }
        return BackfillRequest.model_validate(wanted)

    def ask(self, source: str, symbols: list[str], minutes: int, **changes: Any) -> JobStatus:
        """Make a request."""
        return self.coordinator.request(self.request(source, symbols, minutes, **changes)).job

    def job(self, job: JobStatus) -> JobStatus:
        """Return a job as it is now."""
        return self.coordinator.job(job.id)

    def shards(self, job: JobStatus, state: ShardState | None = None) -> list[ShardStatus]:
        """Return a job's shards by time."""
        found = self.coordinator.shards(job=job.id, state=state, limit=1_000).items
        return sorted(found, key=lambda s: (s.start, s.symbols))

    def shard(self, job: JobStatus) -> ShardStatus:
        """Return the only shard of a job, as it is now."""
        (shard,) = self.shards(job)
        return shard

    def until(self, job: JobStatus, *states: str, seconds: float = 60.0) -> JobStatus:
        """Wait until a job is in one of the states, and return it."""
        until(lambda: self.job(job).state in states, seconds, f"{job.id} {states}", lambda: self.told(job))
        return self.job(job)

    def until_rows(self, job: JobStatus, rows: int, seconds: float = 60.0) -> JobStatus:
        """Wait until so many rows of a job are written."""
        until(lambda: self.job(job).rows >= rows, seconds, f"{rows} rows of {job.id}", lambda: self.told(job))
        return self.job(job)

    def until_shard(
        self, shard: str, holds: Callable[[ShardStatus], bool], what: str, seconds: float = 60.0
    ) -> ShardStatus:
        """Wait until something holds of a shard, and return it."""
        until(lambda: holds(self.coordinator.shard(shard)), seconds, what, lambda: str(self.coordinator.shard(shard)))
        return self.coordinator.shard(shard)

    def told(self, job: JobStatus) -> str:
        """Return how a job and its shards are, for a failure's message."""
        shards = "\n".join(f"  {s.id} {s.state} {s.attempt=} {s.rows=} {s.error}" for s in self.shards(job))
        return f"{self.job(job)}\n{shards}"

    def events(self, shard: str) -> list[LeaseEvent]:
        """Return what happened to a shard's leases, as far as it is told."""
        return lease_events(self.world.settings, self.plane, shard)

    def changes(self, shard: str) -> list[LeaseChange]:
        """Return the kinds of what happened."""
        return [event.event for event in self.events(shard)]

    def rows(self, *symbols: str) -> list[Row]:
        """Return the rows of the history topic, of these symbols or all: symbol and minute, sorted."""
        return [row for row in history(self.world) if not symbols or row[0] in symbols]

    def dead(self) -> dict[str, Shard]:
        """Return the shards among the dead letters."""
        found = [self.plane.decode_shard(m.value() or b"") for m in self.world.read(self.plane.dlq) if m.key()]
        return {shard.id: shard for shard in found}

    def progress(self, shard: str) -> list[Progress]:
        """Return all that was ever told of a shard, oldest first, as far as compaction left it."""
        messages = [m for m in self.world.read(self.plane.progress) if m.key() == shard.encode()]
        found = (self.plane.decode(self.plane.progress, m.value() or b"") for m in messages)
        return [p for p in found if isinstance(p, Progress)]

    def close(self) -> None:
        self.coordinator.close()


@contextmanager
def operating(world: World) -> Iterator[Operator]:
    """Operate a world while the block runs."""
    operator = Operator(world)
    try:
        yield operator
    finally:
        operator.close()


def minutes_of(shard: ShardStatus) -> range:
    """Return the minutes of a shard's bars."""
    first, last = (int(at.timestamp()) * 1_000_000 - START for at in (shard.start, shard.end))
    return range(first // MINUTE, last // MINUTE)
