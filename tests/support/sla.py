"""Observations, objectives and partitions of windows for tests of the SLA agent's core, and a plain oracle."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from streams.settings import Settings, load_settings
from streams.sla.breach import Example
from streams.sla.fold import Fold
from streams.sla.objectives import Objectives, SeriesKey
from streams.sla.partition import PartitionWindows
from streams.sla.records import Told
from streams.sla.sketch import bin_of
from streams.sla.verdict import Links, moment

NS = 1_000_000_000
START = int(datetime(2026, 3, 2, 15, 0, tzinfo=UTC).timestamp()) * NS
"""A Monday, while the exchange in New York is open."""
SERIES = SeriesKey("bars", "reader", "total")
LINKS = Links("w")


def sla_settings(
    objectives: Mapping[str, Mapping[str, Any]], *, calendar: str = "24/7", interval: str | None = "1m", **agent: Any
) -> Settings:
    """Return settings with one dataset, `bars`, and these objectives only."""
    dataset = {"contract": "ohlcv", "interval": interval, "calendar": calendar}
    values = {
        "world": "w",
        "datasets": {"bars": {k: v for k, v in dataset.items() if v is not None}},
        "sla": {"objectives": dict(objectives)},
        "sla_agent": {"defaults": False, "grace_ms": 0, **agent},
    }
    return load_settings(env={"SEAMLESS_CONFIG": "/dev/null"}, overrides=values, stack=lambda: None)


@dataclass(frozen=True)
class Seen:
    """One observation of a test: seconds after START, and what it took."""

    at: float
    elapsed: float = 0.1
    ok: bool = True
    series: SeriesKey = SERIES
    newest: int | None = None
    synthetic: bool = False

    def told(self) -> Told:
        at = START + int(self.at * NS)
        fold = Fold(
            1,
            int(not self.ok),
            {bin_of(self.elapsed): 1},
            self.elapsed,
            at,
            self.newest,
            (Example(f"f{self.at}", self.elapsed, moment(at)),),
            int(self.synthetic),
        )
        return Told(self.series, at, fold)


class Log:
    """A partition of observations and ticks, and windows that read it; may be restarted from the last checkpoint."""

    def __init__(self, settings: Settings, *, grace_s: float = 0.0) -> None:
        self.objectives, self._grace = Objectives(settings), int(grace_s * NS)
        self.records: list[Told | int] = []
        self.states: dict[str, dict[str, Any]] = {}
        self.breaches: list[Any] = []
        self.late = 0
        self.windows = self._fresh()

    def _fresh(self) -> PartitionWindows:
        homes = list(self.objectives.of_datasets())
        return PartitionWindows(self.objectives, LINKS, self._grace, homes, list(self.states.values()))

    def write(self, *records: Seen | float) -> None:
        """Write observations, and ticks as seconds after START; the windows read them."""
        for each in records:
            self.records.append(each.told() if isinstance(each, Seen) else START + int(each * NS))
            self._read(len(self.records) - 1)

    def checkpoint(self) -> None:
        """Keep states and what came of them, all at once."""
        for key, state in self.windows.checkpoint():
            if state is None:
                self.states.pop(key, None)
            else:
                self.states[key] = state
        output = self.windows.drain()
        self.breaches += output.breaches
        self.late += output.late.total()

    def restart(self) -> None:
        """Lose what was not kept, and read the log again from its beginning."""
        self.windows = self._fresh()
        for offset in range(len(self.records)):
            self._read(offset)

    def _read(self, offset: int) -> None:
        record = self.records[offset]
        if isinstance(record, int):
            self.windows.tick(offset, record)
        else:
            self.windows.fold(offset, record)

    def told(self) -> list[tuple[str, str, float]]:
        """Return what was told of breaches: state, severity, and seconds after START."""
        self.checkpoint()
        return [(b.state, b.severity, (b.at - moment(START)).total_seconds()) for b in self.breaches]


def exact_quantile(values: Iterable[float], share: float) -> float:
    """Return the least value that at least `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(share * len(ordered) - 1e-9)) - 1]
